#!/bin/sh
# enroll-site.sh [OPTIONS] SITE-NAME CA-URL CA-FINGERPRINT [TOKEN]: a certificate for a site, with curl and openssl alone, or with muster.
#
#   SITE-NAME       becomes the certificate's common name
#   CA-URL          such as https://ca.example.org:9000
#   CA-FINGERPRINT  SHA-256 of the root certificate: muster ca fingerprint
#   TOKEN           the secret of an enrolment token (mt_...), or a file that holds it; else it is asked for.
#                   Anything else is taken for a provisioner's password, of Muster or of a step-ca, which needs the program muster
#                   or muster-agent. $PROVISIONER is its name (default: iot-devices).
#
#   -o, --output-dir DIR   where the files go (default: ./certs)
#   -v, --validity TIME    how long the certificate shall hold, with a password only: a token's profile decides (default: 720h)
#   -h, --help             this text
#
# Writes ca.crt, SITE-NAME.crt and SITE-NAME.key, and prints the configuration of a Mosquitto bridge. May be run again after any
# interruption. With the muster program on the site, `muster agent enrol` does the same in one line, and renews by itself.
set -eu
umask 077

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}
usage() {
    say "usage: enroll-site.sh [-o DIR] [-v TIME] SITE-NAME CA-URL CA-FINGERPRINT [TOKEN]"
    exit 2
}

out=./certs
validity=720h
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) sed -n '2,19s/^# \{0,1\}//p' "$0" && exit ;;
        -o | --output-dir | -v | --validity)
            [ $# -ge 2 ] || usage
            case $1 in -o | --output-dir) out=$2 ;; *) validity=$2 ;; esac
            shift 2
            ;;
        --) shift && break ;;
        -*) usage ;;
        *) break ;;
    esac
done
[ $# -eq 3 ] || [ $# -eq 4 ] || usage
site=$1
url=${2%/}
fingerprint=$(printf '%s' "$3" | tr -d ': ' | tr 'A-F' 'a-f')
case $site in '' | *[!a-z0-9._-]* | [!a-z0-9]*) die "$site cannot be a site's name: use a-z, 0-9, '.', '_' and '-'" ;; esac
case $url in https://*) ;; *) die "$url is no URL such as https://ca.example.org:9000" ;; esac
case $fingerprint in *[!0-9a-f]*) die "the fingerprint has 64 hexadecimal digits" ;; esac
[ ${#fingerprint} -eq 64 ] || die "the fingerprint has 64 hexadecimal digits"
agent=
if command -v muster >/dev/null; then
    agent="muster agent"
elif command -v muster-agent >/dev/null; then
    agent=muster-agent
fi

if [ $# -eq 4 ]; then
    secret=$4
    if [ -f "$secret" ]; then
        secret=$(cat "$secret")
    else
        case $secret in */*) die "the last word names a file, and there is none (a password with a slash has to be in a file)" ;; esac
    fi
else
    say "Enrolment token:"
    # Nobody reads along while it is typed, where there is stty.
    if [ -t 0 ] && stty -echo 2>/dev/null; then trap 'stty echo' EXIT && trap 'exit 1' HUP INT TERM; fi
    IFS= read -r secret || die "there is no enrolment token (at the CA: muster token create $site)"
    if [ -t 0 ] && stty echo 2>/dev/null; then trap - EXIT HUP INT TERM && say ""; fi
fi
# As an editor on Windows saves it.
secret=$(printf '%s' "$secret" | tr -d '\r')
case $secret in mt_*[!A-Za-z0-9_-]*) die "an enrolment token has letters, digits, '-' and '_' alone: this one was not copied as it is" ;; esac

mkdir -p "$out"
crt=$out/$site.crt
key=$out/$site.key

# A string of a JSON answer; its only escape in PEM is \n.
field() { printf '%b' "$(sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" "$2")"; }

# What was written stays, whatever happens to the power. Not every sync takes names.
keep() { sync "$@" 2>/dev/null || sync || die "cannot write to the disk: $*"; }

# With curl and openssl: a key, a request, and one question to the CA.
with_token() {
    work=$(mktemp -d "$out/.enroll.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    # The one answer that is fetched from nobody in particular: it is believed by its fingerprint alone.
    curl -sS -k --max-time 30 --max-filesize 65536 -o "$work/root.json" "$url/root/$fingerprint" || die "$url does not answer"
    field ca "$work/root.json" >"$work/root.crt"
    found=$(openssl x509 -in "$work/root.crt" -noout -fingerprint -sha256 2>/dev/null | sed 's/.*=//' | tr -d ':' | tr 'A-F' 'a-f') || :
    [ "$found" = "$fingerprint" ] ||
        die "$url does not show the root with this fingerprint: something stands between this machine and the CA, or it is another CA's"

    # The key is there before the CA is asked, so that the same question can be asked again.
    if [ ! -s "$key" ]; then
        openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$work/key"
        mv "$work/key" "$key"
    fi
    keep "$key" "$out"
    openssl req -new -key "$key" -subj "/CN=$site" -out "$work/csr" 2>"$work/said" || die "$(cat "$work/said")"
    {
        printf '{"token":"%s","csr":"' "$secret"
        while IFS= read -r line; do printf '%s\\n' "$line"; done <"$work/csr"
        printf '"}'
    } >"$work/ask.json"
    status=$(curl -sS --max-time 60 --cacert "$work/root.crt" -H 'content-type: application/json' -d "@$work/ask.json" \
        -o "$work/answer.json" -w '%{http_code}' "$url/api/v1/enrol") || die "$url does not answer; run this again"
    if [ "$status" != 200 ]; then
        said=$(field message "$work/answer.json")
        case $said in *" had this key before"*) die "$said: mv $key $key.old, and run this again" ;; esac
        # Of a device that has its certificate, the CA says so; that is no failure.
        if [ -s "$crt" ] && openssl x509 -in "$crt" -noout -checkend 0 >/dev/null 2>&1; then
            say "$site has a certificate already; the CA says: $said"
        else
            die "$said"
        fi
    else
        {
            field root "$work/answer.json"
            field issuing "$work/answer.json"
        } >"$work/ca.crt"
        {
            field pem "$work/answer.json"
            field issuing "$work/answer.json"
        } >"$work/crt"
        openssl x509 -in "$work/crt" -noout || die "the CA's answer cannot be read"
        chmod 644 "$work/ca.crt" "$work/crt"
        mv "$work/ca.crt" "$out/ca.crt"
        mv "$work/crt" "$crt"
        # Once that is told, nobody gives it again.
        keep "$crt" "$out"
        curl -fsS --max-time 30 --cacert "$work/root.crt" --cert "$crt" --key "$key" -X POST -o "$work/confirmed" \
            "$url/api/v1/enrol/confirm" || say "The CA was not told that the certificate has arrived; the next renewal does."
    fi
    say "$site has a certificate until $(openssl x509 -in "$crt" -noout -enddate | sed 's/.*=//')"
}

# The agent says for itself where the CA is.
host=${url#https://}
case $host in *:[0-9]*) ;; *) host=$host:443 ;; esac

case $secret in
    mt_*)
        if command -v curl >/dev/null && command -v openssl >/dev/null; then
            with_token
        elif [ -n "$agent" ]; then
            MUSTER_CODE=$site:$secret@$host/$fingerprint $agent enrol --dir "$out" >&2
        else
            die "neither curl and openssl nor muster is installed"
        fi
        ;;
    *)
        [ -n "$agent" ] || die "this is no enrolment token (mt_...), and a provisioner's password needs the program muster"
        say "warning: who reads this password can enrol any free name; an enrolment token is for one (at the CA: muster token create $site)"
        # printf is the shell's own: the password stands in nobody's arguments.
        printf '%s' "$secret" | $agent sign "$site" --ca-url "https://$host" --fingerprint "$fingerprint" \
            --provisioner "${PROVISIONER:-iot-devices}" --password-file /dev/stdin --validity "$validity" --dir "$out" >&2
        ;;
esac

dir=$(cd "$out" && pwd)
cat <<CONF
# Connects this Mosquitto to the central broker as $site. Save as /etc/mosquitto/conf.d/bridge.conf.
# CHANGE THIS: mqtt.example.org stands for your broker's name. The group mosquitto must be able to read the key.
connection central
address mqtt.example.org:8883

bridge_cafile $dir/ca.crt
bridge_certfile $dir/$site.crt
bridge_keyfile $dir/$site.key
bridge_insecure false
bridge_protocol_version mqttv311
remote_clientid $site

topic fleet/$site/up/# out 1
topic fleet/$site/down/# in 1
cleansession false
try_private false
notifications_local_only true

start_type automatic
keepalive_interval 60
restart_timeout 5 60
CONF
