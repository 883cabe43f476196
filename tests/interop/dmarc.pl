#!/usr/bin/perl
# Says what Mail::DMARC makes of identities that passed. Argument: the DNS port on
# 127.0.0.1. Standard input: one JSON object a line with from, spf and dkim (a domain, or
# "" for none); standard output: one line for each, in the same order: result (pass, fail,
# none) and, where a policy was found, which of spf and dkim aligned.
use strict;
use warnings;
use JSON::PP;
use Mail::DMARC::PurePerl;
use Net::DNS::Resolver;

my $port = shift // die "one argument is needed: the DNS port\n";
my $resolver = Net::DNS::Resolver->new(
    nameservers => ['127.0.0.1'], port => $port, udp_timeout => 5, retry => 2);
my $json = JSON::PP->new->canonical->utf8;
$| = 1;

while (my $line = <STDIN>) {
    my $asked = $json->decode($line);
    my $dmarc = Mail::DMARC::PurePerl->new;
    $dmarc->set_resolver($resolver);
    $dmarc->header_from($asked->{from});
    $dmarc->source_ip('203.0.113.5');
    $dmarc->spf([ $asked->{spf} eq ''
        ? { domain => $asked->{from}, scope => 'mfrom', result => 'none' }
        : { domain => $asked->{spf}, scope => 'mfrom', result => 'pass' } ]);
    $dmarc->dkim([ $asked->{dkim} eq '' ? ()
        : { domain => $asked->{dkim}, selector => 's', result => 'pass' } ]);
    my $result = $dmarc->validate;
    print $json->encode({
        result => $result->result,
        spf => ($result->spf // '') eq 'pass' ? JSON::PP::true : JSON::PP::false,
        dkim => ($result->dkim // '') eq 'pass' ? JSON::PP::true : JSON::PP::false,
    }), "\n";
}
