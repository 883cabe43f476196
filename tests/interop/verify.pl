#!/usr/bin/perl
# Says what Mail::DKIM makes of each signature of a message and Mail::SPF of its envelope.
# Argument: the DNS port on 127.0.0.1. Standard input: one JSON object a line with file,
# client, helo and mail_from; standard output: one line for each, in the same order. Exit
# code 0 whatever the verdicts; others when the question was wrong.
use strict;
use warnings;
use JSON::PP;
use Mail::DKIM::DNS;
use Mail::DKIM::Verifier;
use Mail::SPF;
use Net::DNS::Resolver;

my $port = shift // die "one argument is needed: the DNS port\n";
my $resolver = Net::DNS::Resolver->new(
    nameservers => ['127.0.0.1'], port => $port, udp_timeout => 5, retry => 2);
Mail::DKIM::DNS::resolver($resolver);
my $spf = Mail::SPF::Server->new(dns_resolver => $resolver);
my $json = JSON::PP->new->canonical->utf8;
$| = 1;

while (my $line = <STDIN>) {
    my $asked = $json->decode($line);
    print $json->encode(
        { dkim => dkim_of($asked->{file}), spf => spf_of($asked) }), "\n";
}

sub dkim_of {
    my ($file) = @_;
    open my $in, '<:raw', $file or die "$file: $!\n";
    my $octets = do { local $/; <$in> };
    my $verifier = Mail::DKIM::Verifier->new();
    $verifier->PRINT($octets);
    $verifier->CLOSE();
    return [
        map { { d => $_->domain, a => $_->algorithm, result => $_->result } }
            $verifier->signatures ];
}

sub spf_of {
    my ($asked) = @_;
    my $is_null = $asked->{mail_from} eq '';
    my $request = Mail::SPF::Request->new(
        scope => $is_null ? 'helo' : 'mfrom',
        identity => $is_null ? $asked->{helo} : $asked->{mail_from},
        ip_address => $asked->{client}, helo_identity => $asked->{helo});
    return $spf->process($request)->code;
}
