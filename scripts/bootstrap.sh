#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes .venv and installs the package with everything that `make demo` and `make test` need.
# Safe to run again: does nothing while the files that describe the installation are unchanged.
#
#   RESIP_PYTHON      the Python to use; default: the first of python3.11, python3.12, python3 that fits
#   RESIP_TORCH_INDEX address of a package index that has another build of torch, e.g. the CPU one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/.installed
LOG=$VENV/install.log
EXTRAS=ros-wheels,dev

say() { printf '[bootstrap] %s\n' "$*"; }
die() { printf '[bootstrap] error: %s\n' "$*" >&2; exit 1; }

fits() { # is $1 a working CPython 3.11 or 3.12? (a version manager's shim may exist and not run)
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null
}

find_python() {
    if [ -n "${RESIP_PYTHON:-}" ]; then
        fits "$RESIP_PYTHON" || die "RESIP_PYTHON=$RESIP_PYTHON is not a working Python 3.11 or 3.12"
        echo "$RESIP_PYTHON"
        return
    fi
    local name
    for name in python3.11 python3.12 python3; do
        if command -v "$name" >/dev/null && fits "$name"; then echo "$name"; return; fi
    done
    die "no Python 3.11 or 3.12 found (the wheels of the robot client and of ROS 2 were tried with" \
        "these). Install one, e.g. 'apt-get install python3.11 python3.11-venv', or name one:" \
        "make RESIP_PYTHON=/path/to/python3.11 ..."
}

apt_install() { # installs the Debian packages named, or says how; never fails
    local as_root=()
    if ! command -v apt-get >/dev/null; then
        say "this system has no apt-get; please install the equivalents of: $*"
        return
    fi
    if [ "$(id -u)" != 0 ]; then
        if sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            say "these system packages are missing; please run:  sudo apt-get install -y $*"
            return
        fi
    fi
    say "installing system packages: $*"
    local output
    if ! output=$({ "${as_root[@]}" apt-get update -qq &&
                    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
                        apt-get install -y -qq --no-install-recommends "$@"; } 2>&1 </dev/null)
    then
        tail -3 <<<"$output" >&2
        say "could not install them; please run:  sudo apt-get install -y $*"
    fi
}

has_library() { # by the loader's cache; captured first because `grep -q` would break the pipe
    local known
    known=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null || true)
    grep -q "$1" <<<"$known"
}

system_packages() { # what venv, robot client and off-screen rendering need and is not here
    local missing=() vendors
    vendors=$(ls /usr/share/glvnd/egl_vendor.d /etc/glvnd/egl_vendor.d 2>/dev/null | grep json || true)
    if ! has_library 'libEGL.so.1' || ! has_library 'libGL.so.1' || [ -z "$vendors" ]; then
        missing+=(libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libopengl0)
    fi
    if ! has_library 'libgomp.so.1'; then missing+=(libgomp1); fi
    if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=("python$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
    fi
    if [ ${#missing[@]} -gt 0 ]; then apt_install "${missing[@]}"; fi
}

pip_install() { # on a terminal pip shows its own progress; else its output goes to the log
    if [ -t 1 ]; then
        "$VENV/bin/python" -m pip install "$@"
    elif ! "$VENV/bin/python" -m pip install "$@" >>"$LOG" 2>&1; then
        grep -i 'error' "$LOG" | tail -5 >&2 || true
        die "pip could not install the packages; the whole output is in $LOG." \
            "Without a network, point pip at a local index first (see README, Quick start)."
    fi
}

have_own_ros() { # does a sourced ROS 2 serve this Python?
    [ -n "${ROS_DISTRO:-}" ] && "$PYTHON" -c 'import rclpy' 2>/dev/null
}

case "$(uname -s)-$(uname -m)" in
    Linux-x86_64 | Linux-aarch64) ;;
    *) die "only Linux on x86_64 or aarch64 has wheels of all parts; this is $(uname -s) $(uname -m)" ;;
esac
PYTHON=$(find_python)
if have_own_ros; then
    EXTRAS=dev
elif [ -n "${ROS_DISTRO:-}" ]; then
    say "ROS 2 $ROS_DISTRO is sourced but its rclpy does not load in $PYTHON:" \
        "use a shell where it is not sourced, or set RESIP_PYTHON to the Python it was built for"
fi
WANTED=$({ cat setup.py pyproject.toml constraints.txt scripts/bootstrap.sh
           pwd; "$PYTHON" --version; echo "$EXTRAS" "${RESIP_TORCH_INDEX:-}"; } | sha256sum)
if [ "$(cat "$STAMP" 2>/dev/null)" = "$WANTED" ] && "$VENV/bin/python" -c 'import resip_ros' 2>/dev/null
then
    exit 0
fi

system_packages
start=$SECONDS
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making $VENV with $("$PYTHON" --version)"
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" ||
        die "could not make $VENV; if the message above names ensurepip: apt-get install python3-venv"
fi
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
if [ "$free_mb" -lt 6000 ]; then
    say "only $free_mb MB are free here; the packages take 3 GB, 9 GB with a CUDA build of torch"
fi
say "installing packages into $VENV (some minutes the first time; log: $LOG)"
if [ -n "${RESIP_TORCH_INDEX:-}" ]; then
    pip_install -c constraints.txt --extra-index-url "$RESIP_TORCH_INDEX" 'torch==2.13.0'
fi
pip_install -c constraints.txt -e ".[$EXTRAS]"
echo "$WANTED" >"$STAMP"
say "installed in $((SECONDS - start)) s"
