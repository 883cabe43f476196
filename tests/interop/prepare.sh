#!/bin/sh
# Installs what the interop and chaos tests talk to, where something is missing: clients,
# MTAs, verifiers and name servers, all of them Debian's. Needs root to install.
set -eu
cd "$(dirname "$0")/../.."

missing=""
need() { # need PACKAGE TEST…: note the package unless its test succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

need postfix test -x /usr/sbin/postfix
need swaks command -v swaks
need curl command -v curl
need libnet-ssleay-perl perl -MNet::SSLeay -e 1
need opendkim test -x /usr/sbin/opendkim
need opendmarc test -x /usr/sbin/opendmarc
need publicsuffix test -e /usr/share/publicsuffix/public_suffix_list.dat
need iproute2 command -v ip
need libmail-dkim-perl perl -MMail::DKIM -e 1
need libmail-spf-perl perl -MMail::SPF -e 1
need libmail-dmarc-perl perl -MMail::DMARC -e 1
need libmail-authenticationresults-perl perl -MMail::AuthenticationResults::Parser -e 1
need libnet-dns-perl perl -MNet::DNS -e 1
need strace command -v strace
need faketime command -v faketime
need python3-django /usr/bin/python3 -c 'import django'
need nodejs command -v node
need node-nodemailer test -d /usr/share/nodejs/nodemailer
need libphp-phpmailer test -d /usr/share/php/libphp-phpmailer
need php-cli command -v php
need golang-go command -v go
need msmtp command -v msmtp
need knot test -x /usr/sbin/knotd
need knot-dnssecutils command -v kzonecheck
need bind9-utils command -v named-checkzone
need bind9 test -x /usr/sbin/named
need haproxy test -x /usr/sbin/haproxy
need unbound test -x /usr/sbin/unbound
need chromium command -v chromium
need caddy command -v caddy
need systemd command -v systemd-analyze

# Debian's MTAs exclude one another: these are unpacked beside Postfix.
peers=$PWD/.venv/peers
unpacked=""
unpack() { # unpack PACKAGE FILE: note the package unless the file is there
    [ -e "$peers/$1/$2" ] || unpacked="$unpacked $1"
}
has_library() {
    ldconfig -p | grep -q "$1"
}

unpack exim4-daemon-light usr/sbin/exim4
unpack opensmtpd usr/sbin/smtpd
unpack sendmail-bin usr/libexec/sendmail/sendmail
unpack sendmail-cf usr/share/sendmail/cf/m4/cf.m4
unpack courier-mta usr/sbin/courier
unpack courier-base usr/sbin/couriertcpd
unpack courier-authlib usr/sbin/courierlogger
unpack libcourier-unicode4 usr/share/doc/libcourier-unicode4
need libgnutls-dane0 has_library libgnutls-dane.so.0
need libidn12 has_library libidn.so.12
need libnsl2 has_library libnsl.so.2
need libevent-2.1-7 has_library libevent-2.1.so.7
need libwrap0 has_library libwrap.so.0
need libldap-2.5-0 has_library libldap-2.5.so.0
need libgdbm6 has_library libgdbm.so.6
need m4 command -v m4

if [ -n "$missing$unpacked" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "install or unpack these first, or run as root:$missing$unpacked" >&2
        exit 1
    fi
    echo "installing:$missing; unpacking:$unpacked"
    # An install must not start services: the tests start what they need.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    dpkg --configure -a # an install that was cut short would stop this one
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    [ -z "$missing" ] ||
        apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $missing
    for package in $unpacked; do
        mkdir -p "$peers/$package"
        (cd "$peers/$package" &&
            apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg -x ./*.deb .)
    done
fi

tests/interop/samples.sh
