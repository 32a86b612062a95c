# The newest cloud kernel that is installed with its modules: KERNEL, KERNEL_VERSION.
KERNEL=$(find /boot -maxdepth 1 -name 'vmlinuz-*-cloud-amd64' -readable | sort -V | tail -n1)
KERNEL_VERSION=${KERNEL#/boot/vmlinuz-}
if [ -z "$KERNEL" ] || ! [ -d "/lib/modules/$KERNEL_VERSION" ]; then
  echo "no readable kernel /boot/vmlinuz-*-cloud-amd64 with modules; run scripts/setup test" >&2
  exit 1
fi
