#!/usr/bin/perl
# Says what Mail::AuthenticationResults reads in Authentication-Results fields. Standard
# input: one field a line as a JSON string; standard output: one line for each, in the same
# order: the authserv-id and, for each method, its result and its properties.
use strict;
use warnings;
use JSON::PP;
use Mail::AuthenticationResults::Parser;

my $json = JSON::PP->new->canonical->utf8->allow_nonref;
$| = 1;

while (my $line = <STDIN>) {
    my $read = Mail::AuthenticationResults::Parser->new->parse($json->decode($line));
    my @methods = map {
        my $entry = $_;
        my @said = grep { ref($_) =~ /SubEntry$/ } @{ $entry->children };
        [ $entry->key, $entry->value, { map { $_->key => $_->value } @said } ]
    } @{ $read->children };
    print $json->encode({ by => $read->value->value, methods => \@methods }), "\n";
}
