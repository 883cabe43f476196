// Sends one HTML message with an attachment through nodemailer.
// Arguments: port, user, password, From, To, the folder with node_modules.
import { createRequire } from "node:module";
import path from "node:path";

const [port, user, pass, from, to, home] = process.argv.slice(2);
const nodemailer = createRequire(path.join(home, "x.js"))("nodemailer");
const transport = nodemailer.createTransport({
  host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true,
  auth: { user, pass },
});
const sent = await transport.sendMail({
  from, to, subject: "nodemailer: grüße",
  text: "plain", html: "<p>Grüße <b>fett</b></p>",
  attachments: [{ filename: "a.bin", content: Buffer.alloc(3000, 7) }],
});
console.log(sent.response);
transport.close();
