#!/bin/sh
# Makes the root file system of a lab host and hands it to podman. The image's tag holds a hash of this file, so
# that an edit here makes a new image. Wanted in the environment:
#   RELEASE            Debian's code name
#   MIRROR             address of the archive, from the machine's own APT sources
#   SUITES             the release's suites there
#   SECURITY           address of the security archive, or empty
#   APT_CONF           lines of apt.conf that the machine needs to reach the mirror, or empty
#   KEYRING            keyring that signs the mirror
#   PACKAGES           packages in the image
#   PREFETCH           packages whose archives wait in the image's APT cache, so that roles install them fast
#   ROOT CACHE IMAGE   work directory, directory for downloads, name of the image
# Runs in a mount namespace of its own: what debootstrap mounts is gone when this process is.
set -eu

mkdir -p "$CACHE"
debootstrap --variant=minbase --keyring="$KEYRING" --cache-dir="$CACHE" --include="$(echo "$PACKAGES" | tr ' ' ',')" \
    "$RELEASE" "$ROOT" "$MIRROR"

cd "$ROOT"

# APT: the machine's mirror; nothing that runs by itself and takes the lock while a role wants it.
{
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$MIRROR" "$SUITES" "$KEYRING"
    if [ -n "$SECURITY" ]; then
        printf '\nTypes: deb\nURIs: %s\nSuites: %s-security\nComponents: main\nSigned-By: %s\n' \
            "$SECURITY" "$RELEASE" "$KEYRING"
    fi
} >etc/apt/sources.list.d/debian.sources
rm -f etc/apt/sources.list
printf '%s\n' "$APT_CONF" >etc/apt/apt.conf.d/90lab
echo force-unsafe-io >etc/dpkg/dpkg.cfg.d/lab
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty@tty1.service console-getty.service getty.target systemd-resolved.service \
    systemd-udevd.service systemd-udev-trigger.service sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount dev-hugepages.mount proc-sys-fs-binfmt_misc.automount systemd-modules-load.service; do
    ln -sf /dev/null "etc/systemd/system/$unit"
done

# The kernel is the machine's: what the distribution sets by default must not reach it through a lab host.
mkdir -p etc/sysctl.d
for file in usr/lib/sysctl.d/*.conf; do
    [ -e "$file" ] && ln -sf /dev/null "etc/sysctl.d/${file##*/}"
done

# One person with sudo; keys only. Each host gets its own host key when it is created.
chroot . useradd --create-home --shell /bin/bash ops
printf 'ops ALL=(ALL) NOPASSWD: ALL\n' >etc/sudoers.d/ops
chmod 0440 etc/sudoers.d/ops
install -d -m 0700 home/ops/.ssh
chroot . chown ops:ops /home/ops/.ssh
rm -f etc/ssh/ssh_host_*
cat >etc/ssh/sshd_config.d/lab.conf <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
MaxStartups 100
CONF
mkdir -p etc/systemd/system/ssh.service.d
cat >etc/systemd/system/ssh.service.d/lab.conf <<'CONF'
[Unit]
# Before this, PAM turns everybody but root away.
After=systemd-user-sessions.service
CONF
mkdir -p var/log/journal

# The first process. systemd knows cgroup version 2 alone from 258 on; where the machine has version 1 and 2 side by
# side, such a host gets its own part of version 2 in its place. podman's limits hold as they are.
if [ "$(chroot . systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')" -ge 258 ]; then
    cat >usr/local/sbin/lab-init <<'INIT'
#!/bin/sh
if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
    exec /sbin/init
fi
exec unshare --cgroup sh -c 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /sbin/init'
INIT
    chmod 0755 usr/local/sbin/lab-init
else
    ln -s /sbin/init usr/local/sbin/lab-init
fi

# Ansible sends each module as a zip file, and Python compiles what comes in one anew for every task: most of a short
# task's work. Root's Pythons here keep what they compiled, under the hash of its source.
mkdir -p usr/lib/python3/dist-packages
echo 'import lab_bytecode' >usr/lib/python3/dist-packages/lab-bytecode.pth
cat >usr/lib/python3/dist-packages/lab_bytecode.py <<'PYTHON'
import hashlib
import marshal
import os
import sys
import zipimport

FOLDER = f"/var/cache/lab-bytecode/{sys.implementation.cache_tag}"


def remembered(pathname, source, compiled=zipimport._compile_source):
    file = os.path.join(FOLDER, hashlib.sha256(source).hexdigest())
    try:
        with open(file, "rb") as opened:
            return marshal.load(opened)
    except (OSError, ValueError, EOFError, TypeError):
        code = compiled(pathname, source)
    try:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        with open(f"{file}.{os.getpid()}", "wb") as opened:
            marshal.dump(code, opened)
        os.replace(opened.name, file)
    except OSError:  # no room
        pass
    return code


if os.geteuid() == 0:
    zipimport._compile_source = remembered
PYTHON

# The list of packages, and the archives that roles are going to ask for, with what they depend on.
cp /etc/resolv.conf etc/resolv.conf
chroot . apt-get --quiet update
for package in $PREFETCH; do
    if chroot . apt-cache show --quiet "$package" >/dev/null 2>&1; then
        chroot . apt-get --quiet --yes --download-only install "$package"
    fi
done
# Without this file, apt-get throws away what it downloads; with it, what was fetched above is kept too.
echo 'APT::Keep-Downloaded-Packages "true";' >etc/apt/apt.conf.d/91lab-keep

: >etc/machine-id
rm -f etc/hostname etc/resolv.conf var/lib/dbus/machine-id var/log/*.log var/log/apt/*

tar --create --one-file-system --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* --exclude=./run/* --exclude=./tmp/* . |
    podman import --change 'CMD ["/usr/local/sbin/lab-init"]' --change 'STOPSIGNAL SIGRTMIN+3' --change 'LABEL lifeline.lab.image=1' - "$IMAGE"
