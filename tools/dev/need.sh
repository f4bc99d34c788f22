# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# shellcheck disable=SC2034 # The arrays are read where this is sourced.
# need.sh -- sourced by the scripts of tools/: Debian packages that they need.

# What a build takes, and what building and running the tests takes besides.
BUILD_PACKAGES=(gcc libc6-dev meson ninja-build pkg-config python3
    libev-dev libsqlite3-dev libjansson-dev libxxhash-dev uthash-dev)
TEST_PACKAGES=(clang libclang-rt-14-dev binutils g++ libcmocka-dev netcat-openbsd
    python3-aiorpcx util-linux libuv1-dev libsystemd-dev man-db mandoc bash-completion)

# Those of the packages named that are not installed, one a line.
missing_packages() {
    local package
    for package in "$@"; do
        if ! dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii'; then
            echo "$package"
        fi
    done
}

# Installs what is missing of the packages named; as root, or with sudo.
need_packages() {
    local -a missing as_root=()
    if ! command -v apt-get >/dev/null; then
        echo "This is not Debian, so nothing is installed.  Needed are: $*" >&2
        return 0
    fi
    mapfile -t missing < <(missing_packages "$@")
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "${0##*/}: these packages are missing, and installing them takes root" \
                "or sudo: ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing: ${missing[*]}"
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null </dev/null
}
