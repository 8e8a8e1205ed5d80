#!/usr/bin/env bash
# Makes build/deb/cairn_VERSION_ARCH.deb: the program with its modules and the Node that runs this, so that it installs
# on a bare Debian 12, whose own Node is too old. Needs `make build` before, and no network. With an argument, that is the
# version in place of package.json's: the test of upgrades needs two.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Of package.json, as Debian sorts versions.
version=${1:-$(node -p 'require("./package.json").version')}
arch=$(dpkg --print-architecture)
root=build/deb/root
lib=$root/usr/lib/cairn
rm -rf "$root"
mkdir -p "$root/DEBIAN" "$lib/app" "$lib/bin"

# The program, and the modules that it runs with: those of the lockfile that are not for development or optional.
cp -r dist proto package.json LICENSE "$lib/app/"
rm -f "$lib/app/dist/.tsbuildinfo" "$lib/app/dist/console/.page.tsbuildinfo"
# What every part of it says its version is.
sed -i "s/^  \"version\": \".*\"/  \"version\": \"$version\"/" "$lib/app/package.json"
npm ls --omit=dev --omit=optional --all --parseable | tail -n +2 | sort -u | while read -r module; do
  target=$lib/app/${module#"$PWD"/}
  mkdir -p "$target"
  # Modules within modules are in the list themselves.
  tar -C "$module" --exclude=./node_modules -cf - . | tar -C "$target" -xf -
done
# What compiling needed: the sources of SQLite, and everything but the module itself.
sqlite=$lib/app/node_modules/better-sqlite3
rm -rf "$sqlite/deps" "$sqlite/src"
find "$sqlite/build" -type f ! -path '*/Release/better_sqlite3.node' -delete
find "$lib/app/node_modules" \( -name '*.map' -o -name '*.d.ts' -o -name '*.md' ! -iname 'licen*' \) -type f -delete
rm -rf "$lib/app/node_modules/bintrees/test"
find "$lib/app" -type d -empty -delete

node=$(node -p process.execPath)
# What is not among the dependencies below is not on the machine: Debian's own nodejs, for one, is a stub before libnode.so.
foreign=$(ldd "$node" | awk '$2 == "=>" { print $1 }' | grep -vE '^lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|atomic)\.so' || true)
if [[ -n $foreign ]]; then
  echo "$node cannot be bundled, it needs $foreign: build with a Node of nodejs.org or NodeSource" >&2
  exit 1
fi
install -m 755 "$node" "$lib/bin/node"
install -m 755 ops/bin/cairn-daemon "$lib/bin/"
install -D -m 755 ops/bin/cairn "$root/usr/bin/cairn"
install -D -m 755 -t "$root/sbin" ops/bin/mount.cairn ops/bin/umount.fuse.cairn
install -D -m 644 -t "$root/lib/systemd/system" ops/systemd/*.service
install -D -m 644 -t "$root/etc/cairn" ops/config/*.toml

cairn() { node dist/cli/cairn.js "$@"; }
mkdir -p "$root/usr/share/"{man/man1,man/man8,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
cairn manual | gzip -9n > "$root/usr/share/man/man1/cairn.1.gz"
printf '.so man1/cairn.1\n' | gzip -9n > "$root/usr/share/man/man8/mount.cairn.8.gz"
cairn completion bash > "$root/usr/share/bash-completion/completions/cairn"
cairn completion zsh > "$root/usr/share/zsh/vendor-completions/_cairn"
cairn completion fish > "$root/usr/share/fish/vendor_completions.d/cairn.fish"

doc=$root/usr/share/doc/cairn
install -D -m 644 -t "$doc" README.md docs/operations.md docs/configuration.md docs/security.md docs/design.md
cp -r ops/prometheus ops/grafana "$doc/"
{
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: Cairn\n\n'
  printf 'Files: *\nCopyright: the authors of Cairn\nLicense: Apache-2.0\n On Debian systems: /usr/share/common-licenses/Apache-2.0\n\n'
  printf 'Files: usr/lib/cairn/app/node_modules/*\nCopyright: their authors\nLicense: as each folder says\n See the license file in each.\n\n'
  printf 'Files: usr/lib/cairn/bin/node\nCopyright: Node.js contributors and those of what it bundles\nLicense: Expat and others\n'
  printf ' See https://github.com/nodejs/node/blob/%s/LICENSE\n' "$(node --version)"
} > "$doc/copyright"

install -m 755 -t "$root/DEBIAN" ops/debian/{preinst,postinst,prerm,postrm}
(cd "$root" && find etc -type f -printf '/%p\n' | sort) > "$root/DEBIAN/conffiles"
chmod -R u+rwX,go+rX,go-w "$root"
# The newest version of the libraries that a symbol in what is bundled needs: that of the machine that compiled it.
newest() { cat "$node" "$sqlite/build/Release/better_sqlite3.node" | grep -aoE "$1_[0-9]+(\.[0-9]+)+" | sort -uV | tail -n 1 | cut -d_ -f2; }
glibc=$(newest GLIBC)
# libstdc++ counts its symbols by a number of its own.
case $(newest GLIBCXX) in 3.4.29) gcc=11 ;; 3.4.30) gcc=12 ;; 3.4.3[12]) gcc=13 ;; 3.4.33) gcc=14 ;; 3.4.3[4-9]) gcc=15 ;; *) gcc=10 ;; esac
cat > "$root/DEBIAN/control" <<CONTROL
Package: cairn
Version: $version
Architecture: $arch
Maintainer: Cairn <cairn@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: libc6 (>= $glibc), libstdc++6 (>= $gcc), adduser, mount, util-linux
Recommends: systemd
Section: net
Priority: optional
Description: distributed file system that is mounted
 A master keeps the names, chunkservers keep the blocks, each on several
 machines, and a mount shows them as a POSIX file system through FUSE.
 This package has all three, and the command to administer them. It starts
 nothing by itself: see /usr/share/doc/cairn/operations.md.
CONTROL

file=build/deb/cairn_${version}_$arch.deb
dpkg-deb --root-owner-group -Zgzip -z1 --build "$root" "$file" > /dev/null
echo "$file"
