"""The servers that the captures talk to: Debian's own, configured to live in a namespace."""

import pathlib
import time

from lab.network import SERVER, command

WEB_ROOT, KEYS = pathlib.Path("/run/lab/www"), pathlib.Path("/run/lab/keys")

NGINX = """
worker_processes 1; daemon off; pid /run/lab/nginx.pid; error_log /run/lab/nginx.log;
events { worker_connections 64; }
http { access_log off; root /run/lab/www; client_body_temp_path /run/lab/nginx-body;
  proxy_temp_path /run/lab/nginx-proxy; fastcgi_temp_path /run/lab/nginx-fcgi;
  uwsgi_temp_path /run/lab/nginx-uwsgi; scgi_temp_path /run/lab/nginx-scgi;
  server { listen 80; listen [::]:80; keepalive_timeout 5;
    if_modified_since before; location /slow/ { alias /run/lab/www/; limit_rate 40k; } } }
"""
NAMES = (
    "--host-record=www.example.test,203.0.113.5,fd00:2::5",
    "--host-record=intranet.example.test,203.0.113.5",
    "--host-record=ns.example.test,203.0.113.53",
    "--mx-host=example.test,www.example.test",
    "--txt-record=long.example.test," + ",".join(["x" * 250] * 8),
)
SSHD = """
Port 22
HostKey /run/lab/keys/host
AuthorizedKeysFile /run/lab/keys/user.pub
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
"""
VSFTPD = """
listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
anon_root=/run/lab/ftp
anon_upload_enable=YES
write_enable=YES
no_anon_password=YES
connect_from_port_20=YES
pasv_min_port=40000
pasv_max_port=40100
seccomp_sandbox=NO
run_as_launching_user=NO
secure_chroot_dir=/run/vsftpd/empty
"""
NGIRCD = """
[Global]
Name = irc.example.test
Info = example
ServerUID = 0
ServerGID = 0
[Options]
DNS = no
Ident = no
PAM = no
"""
SAMBA = """
[global]
netbios name = STATION
workgroup = EXAMPLE
interfaces = {interface}
bind interfaces only = yes
local master = no
preferred master = no
lock directory = {place}
state directory = {place}
cache directory = {place}
pid directory = {place}
private dir = {place}
ncalrpc dir = {place}
log file = {place}/nmbd.log
"""


def prepare_private_mounts():
    """Give this run its own /run and resolver; called in the private mount namespace."""
    command("mount", "--make-rprivate", "/")
    command("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    pathlib.Path("/run/lab").mkdir()
    resolver = pathlib.Path("/run/lab/resolv.conf")
    resolver.write_text("nameserver 203.0.113.53\noptions timeout:1 attempts:2\n")
    target = pathlib.Path("/etc/resolv.conf").resolve()
    if target.exists():
        command("mount", "--bind", resolver, target)
    for place in ("/run/netns", "/run/samba", "/run/sshd", "/run/vsftpd/empty", WEB_ROOT, KEYS,
                  "/run/lab/ftp/incoming", "/run/lab/tftp"):
        pathlib.Path(place).mkdir(parents=True, mode=0o755, exist_ok=True)
    pages = {"index.html": 1, "logo.svg": 4, "style.css": 3, "photo.jpg": 30, "plan.pdf": 90}
    for name, kilobytes in pages.items():
        line = f"<p>{name}: a line of a page of the example office.</p>\n".encode()
        (WEB_ROOT / name).write_bytes((line * 20 * kilobytes)[:kilobytes * 1024])
        for place in ("/run/lab/ftp", "/run/lab/tftp"):
            pathlib.Path(place, name).write_bytes((WEB_ROOT / name).read_bytes())
    for place in ("/run/lab/ftp/incoming", "/run/lab/tftp"):
        pathlib.Path(place).chmod(0o777)


def web(lab, where=SERVER):
    configuration = pathlib.Path(lab.scratch, "nginx.conf")
    configuration.write_text(NGINX)
    lab.spawn(where, "nginx", "-c", configuration)
    lab.wait_listening(where, 80)


def names(lab, where=SERVER, address="203.0.113.53", *options):
    """A name server that knows example.test; `options` are dnsmasq's."""
    lab.spawn(where, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts",
              "--no-resolv", "--no-daemon", "--user=root", "--pid-file=", "--bind-interfaces",
              "--except-interface=lo", f"--listen-address={address}", "--edns-packet-max=4096",
              "--local=/example.test/", *NAMES, *options)
    lab.wait_listening(where, 53, "udp")


def shell(lab):
    """sshd with keys of this run; nothing of the machine's own configuration is read."""
    configuration = pathlib.Path(lab.scratch, "sshd_config")
    configuration.write_text(SSHD)
    for name in ("host", "user"):
        if not (KEYS / name).exists():
            command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", KEYS / name)
    lab.spawn(SERVER, "/usr/sbin/sshd", "-D", "-e", "-f", configuration)
    lab.wait_listening(SERVER, 22)


def ssh(*words):
    """The words of an ssh client that trusts the key above."""
    return ("ssh", "-F", "none", "-i", KEYS / "user", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentityAgent=none", *words)


def files(lab):
    configuration = pathlib.Path(lab.scratch, "vsftpd.conf")
    configuration.write_text(VSFTPD)
    lab.spawn(SERVER, "vsftpd", configuration)
    lab.wait_listening(SERVER, 21)


def small_files(lab):
    """TFTP, over IPv4 and IPv6."""
    for address in ("203.0.113.5:69", "[fd00:2::5]:69"):
        lab.spawn(SERVER, "in.tftpd", "-L", "-c", "-u", "root", "-a", address,
                  "-s", "/run/lab/tftp")
    time.sleep(0.3)


def chat(lab):
    """An IRC server that knows nobody and trusts everybody."""
    configuration = pathlib.Path(lab.scratch, "ngircd.conf")
    configuration.write_text(NGIRCD)
    lab.spawn(SERVER, "ngircd", "--nodaemon", "--config", configuration)
    lab.wait_listening(SERVER, 6667)


def name_service(lab, where, interface):
    """Samba's name service, for the station of that interface."""
    configuration = pathlib.Path(lab.scratch, "smb.conf")
    configuration.write_text(SAMBA.format(interface=interface, place=lab.scratch))
    lab.spawn(where, "nmbd", "--foreground", "--no-process-group", f"--configfile={configuration}")
    lab.wait_listening(where, 137, "udp")


def sink(lab, port):
    """A server that takes whatever it is sent, over IPv4 and IPv6."""
    lab.spawn(SERVER, "socat", "-u", f"TCP6-LISTEN:{port},fork,reuseaddr", "CREATE:/dev/null")
    lab.wait_listening(SERVER, port)


def upload(page, host, port):
    """The words that send a page to that server."""
    return ("socat", "-u", f"OPEN:{WEB_ROOT / page}", f"TCP:{host}:{port}")
