// Sends one HTML message with an attachment through nodemailer.
// Arguments: port, security (clear, starttls or implicit), user, password, From, To.
import { createRequire } from "node:module";

const [port, security, user, pass, from, to] = process.argv.slice(2);
const nodemailer = createRequire(import.meta.url)("/usr/share/nodejs/nodemailer");
const transport = nodemailer.createTransport({
  host: "localhost", port: Number(port), secure: security === "implicit",
  ignoreTLS: security === "clear", requireTLS: security === "starttls",
  auth: { user, pass },
});
const sent = await transport.sendMail({
  from, to, subject: "nodemailer: grüße",
  text: "plain", html: "<p>Grüße <b>fett</b></p>",
  attachments: [{ filename: "a.bin", content: Buffer.alloc(3000, 7) }],
});
console.log(sent.response);
transport.close();
