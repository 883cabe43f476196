<?php
// Sends one HTML message with an attachment through PHPMailer.
// Arguments: port, security (clear, starttls or implicit), user, password, From, To, CA file.
require '/usr/share/php/libphp-phpmailer/autoload.php';

use PHPMailer\PHPMailer\PHPMailer;

[, $port, $security, $user, $password, $from, $to, $authority] = $argv;
$mail = new PHPMailer(true); // raises what goes wrong
$mail->isSMTP();
$mail->Host = 'localhost';
$mail->Port = (int) $port;
$mail->SMTPAuth = true;
$mail->Username = $user;
$mail->Password = $password;
$mail->SMTPSecure = ['clear' => '', 'starttls' => 'tls', 'implicit' => 'ssl'][$security];
$mail->SMTPAutoTLS = false;
$mail->SMTPOptions = ['ssl' => ['cafile' => $authority]];
$mail->CharSet = PHPMailer::CHARSET_UTF8;
$mail->setFrom($from, 'Grüße');
$mail->addAddress($to);
$mail->addBCC('bcc-' . $to);
$mail->Subject = 'PHPMailer: grüße';
$mail->Body = '<p>Grüße <b>fett</b></p>';
$mail->AltBody = "plain äöü\n.dot";
$mail->addStringAttachment(str_repeat("\x07", 3000), 'a.bin');
try {
    $mail->send();
} catch (Exception $error) {
    fwrite(STDERR, $error->getMessage() . ' ' . $mail->getSMTPInstance()->getLastReply());
    exit(1);
}
