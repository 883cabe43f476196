#!/usr/bin/perl
# Prints one JSON line for a message read from a file: what Mail::DKIM says of each
# signature and Mail::SPF of the envelope. Arguments: DNS port, client address, HELO,
# MAIL FROM, file. Exit code 0 whatever the verdict; 2 when the question was wrong.
use strict;
use warnings;
use JSON::PP;
use Mail::DKIM::DNS;
use Mail::DKIM::Verifier;
use Mail::SPF;
use Net::DNS::Resolver;

my ($port, $client, $helo, $mail_from, $file) = @ARGV;
defined $file or do { print STDERR "five arguments are needed\n"; exit 2 };
my $resolver = Net::DNS::Resolver->new(
    nameservers => ['127.0.0.1'], port => $port, udp_timeout => 5, retry => 2);
Mail::DKIM::DNS::resolver($resolver);

open my $in, '<:raw', $file or do { print STDERR "$file: $!\n"; exit 2 };
my $octets = do { local $/; <$in> };
my $verifier = Mail::DKIM::Verifier->new();
$verifier->PRINT($octets);
$verifier->CLOSE();
my @signatures = map {
    { d => $_->domain, s => $_->selector, a => $_->algorithm,
      result => $_->result, detail => $_->result_detail }
} $verifier->signatures;

my $spf = Mail::SPF::Server->new(dns_resolver => $resolver)->process(
    Mail::SPF::Request->new(
        scope => $mail_from eq '' ? 'helo' : 'mfrom',
        identity => $mail_from eq '' ? $helo : $mail_from,
        ip_address => $client, helo_identity => $helo));
print JSON::PP->new->canonical->encode(
    { dkim => \@signatures, spf => $spf->code }), "\n";
