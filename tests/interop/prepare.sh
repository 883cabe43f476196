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
need libnet-ssleay-perl perl -MNet::SSLeay -e 1
need opendkim test -x /usr/sbin/opendkim
need libmail-dkim-perl perl -MMail::DKIM -e 1
need libmail-spf-perl perl -MMail::SPF -e 1
need libnet-dns-perl perl -MNet::DNS -e 1
need strace command -v strace
need python3-django /usr/bin/python3 -c 'import django'
need nodejs command -v node
need node-nodemailer test -d /usr/share/nodejs/nodemailer
need knot test -x /usr/sbin/knotd
need knot-dnssecutils command -v kzonecheck
need bind9-utils command -v named-checkzone
need unbound test -x /usr/sbin/unbound
need caddy command -v caddy
need systemd command -v systemd-analyze

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "install these first, or run as root:$missing" >&2
        exit 1
    fi
    echo "installing:$missing"
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
    apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $missing
fi
