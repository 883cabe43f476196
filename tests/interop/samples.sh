#!/bin/sh
# Fetches other people's bounces for test_bounce_samples.py, by pip and apt as they are set up
# on this machine, into .venv/samples; pinned by their digests. They are never copied into
# the project.
set -eu
cd "$(dirname "$0")/../.."
samples=$PWD/.venv/samples
mkdir -p "$samples"

fail() {
    echo "samples.sh: $*" >&2
    exit 1
}
unpack() { # unpack FOLDER DIGEST FILE: from the archive, if it is the one that was measured
    [ -f "$3" ] || fail "$1: nothing was fetched"
    echo "$2  $3" | sha256sum --check --quiet || fail "$1: another archive than was measured"
    mkdir -p "$samples/$1.new"
    tar -xf "$3" -C "$samples/$1.new" --strip-components=1
    mv "$samples/$1.new" "$samples/$1"
}

# The tests of flufl.bounce are in its source alone.
if [ ! -d "$samples/flufl.bounce" ]; then
    .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps \
        --no-binary flufl.bounce --dest "$samples" flufl.bounce==6.0.0 ||
        fail "pip could not fetch flufl.bounce"
    unpack flufl.bounce \
        a1df16b9d1877ae4536f7d76c00d8421fcefbe694f80f5285d05c45a2547b1bc \
        "$samples/flufl_bounce-6.0.0.tar.gz"
fi

# The source of a Debian package, from where this machine gets the package itself.
package=libmail-deliverystatus-bounceparser-perl
offered() { # archive, suite and component
    apt-cache madison $package |
        sed -n '1s/^.*|.*| *\([^ ]*\) \([^ /]*\)\/\([^ ]*\).*/\1 \2 \3/p'
}
if [ ! -d "$samples/bounceparser" ]; then
    from=$(offered)
    if [ -z "$from" ]; then # no lists yet
        apt-get update -qq || fail "apt-get update failed"
        from=$(offered)
    fi
    [ -n "$from" ] || fail "apt has no $package"
    mkdir -p "$samples/apt/lists/partial" "$samples/apt/cache/archives/partial"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    signed=""
    [ ! -e $keyring ] || signed="[signed-by=$keyring] "
    echo "deb-src $signed$from" >"$samples/apt/sources.list"
    from_sources() {
        apt-get -qq -o Dir::Etc::SourceList="$samples/apt/sources.list" \
            -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$samples/apt/lists" \
            -o Dir::Cache="$samples/apt/cache" -o APT::Sandbox::User= "$@"
    }
    from_sources update || fail "apt has no sources where it has packages: $from"
    (cd "$samples" && from_sources source --download-only --tar-only $package) ||
        fail "apt could not fetch the source of $package"
    unpack bounceparser \
        01f89040426ab6de77f9f0bcdce61a938ef6a24179efbfdb4f7a1f68c5263282 \
        "$samples/${package}_1.543+repacked.orig.tar.xz"
fi
