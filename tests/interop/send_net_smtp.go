// Sends one message through Go's net/smtp.
// Arguments: port, security (clear, starttls or implicit), user, password, From, To, CA file.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"net/smtp"
	"os"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func open(address, security string, trust *tls.Config) *smtp.Client {
	if security == "implicit" {
		connection, err := tls.Dial("tcp", address, trust)
		must(err)
		client, err := smtp.NewClient(connection, "localhost")
		must(err)
		return client
	}
	client, err := smtp.Dial(address)
	must(err)
	if security == "starttls" {
		must(client.StartTLS(trust))
	}
	return client
}

func main() {
	port, security, user, password := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	from, to := os.Args[5], os.Args[6]
	authority, err := os.ReadFile(os.Args[7])
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	trust := &tls.Config{RootCAs: roots, ServerName: "localhost"}

	client := open("localhost:"+port, security, trust)
	must(client.Auth(smtp.PlainAuth("", user, password, "localhost")))
	must(client.Mail(from))
	must(client.Rcpt(to))
	data, err := client.Data()
	must(err)
	// LF alone: the library is to write CRLF, and to stuff the dot.
	_, err = data.Write([]byte("From: " + from + "\nTo: " + to +
		"\nSubject: net/smtp\n\nhello from Go\n.dot\n"))
	must(err)
	must(data.Close())
	must(client.Quit())
}
