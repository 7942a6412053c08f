#!/bin/sh
# enroll-site.sh [OPTIONS] SITE-NAME CA-URL CA-FINGERPRINT [TOKEN]: a certificate for a site, with curl and openssl alone, or with muster.
#
#   SITE-NAME       becomes the certificate's common name
#   CA-URL          such as https://ca.example.org:9000
#   CA-FINGERPRINT  SHA-256 of the root certificate: muster ca fingerprint
#   TOKEN           the secret of an enrolment token (mt_...), or a file that holds it; else it is asked for. Without it a certificate
#                   that is there already is renewed, once the CA's plan says so: run this line daily, each site at
#                   a minute of its own.
#                   Anything else is taken for a provisioner's password, of Muster or of a step-ca, which needs the program muster
#                   or muster-agent. $PROVISIONER is its name (default: iot-devices).
#
#   -o, --output-dir DIR   where the files go (default: ./certs)
#   -v, --validity TIME    how long the certificate shall hold (default: 720h); with a token its profile decides that
#   -h, --help             this text
#
# Writes ca.crt, SITE-NAME.crt and SITE-NAME.key, and prints the configuration of a Mosquitto bridge. May be run again after any
# interruption. With the muster program on the site, `muster agent enrol` does the same in one line, and `muster agent run` renews.
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
validity=
# Options may stand anywhere: what is none goes to the end of the line, until all were looked at.
left=$#
words=0
while [ "$left" -gt 0 ]; do
    left=$((left - 1))
    case $1 in
        -h | --help) sed -n '2,21s/^# \{0,1\}//p' "$0" && exit ;;
        -o | --output-dir | -v | --validity)
            [ "$left" -gt 0 ] || usage
            case $1 in -o | --output-dir) out=$2 ;; *) validity=$2 ;; esac
            left=$((left - 1))
            shift
            ;;
        --)
            shift
            while [ "$left" -gt 0 ]; do
                set -- "$@" "$1"
                shift
                left=$((left - 1))
            done
            break
            ;;
        *)
            # A password may begin like an option.
            case $1 in -*) [ "$words" -eq 3 ] || usage ;; esac
            words=$((words + 1))
            set -- "$@" "$1"
            ;;
    esac
    shift
done
[ $# -eq 3 ] || [ $# -eq 4 ] || usage
site=$1
url=${2%/}
fingerprint=$(printf '%s' "$3" | tr -d ': ' | tr 'A-F' 'a-f')
case $site in '' | *[!a-z0-9._-]* | [!a-z0-9]*) die "$site cannot be a site's name: use a-z, 0-9, '.', '_' and '-'" ;; esac
[ "$site" != ca ] || die "ca cannot be a site's name: ca.crt is the file with the CA's certificates"
case $url in https://*) ;; *) die "$url is no URL such as https://ca.example.org:9000" ;; esac
case $fingerprint in *[!0-9a-f]*) die "the fingerprint has 64 hexadecimal digits" ;; esac
[ ${#fingerprint} -eq 64 ] || die "the fingerprint has 64 hexadecimal digits"
case $out in
    *['"$`\']* | *"
"*) die "$out cannot be written into a configuration: choose a directory without quotes, \$, \` and \\ in its name" ;;
    -*) out=./$out ;;
esac
agent=
if command -v muster >/dev/null; then
    agent="muster agent"
elif command -v muster-agent >/dev/null; then
    agent=muster-agent
fi

crt=$out/$site.crt
key=$out/$site.key
# What follows a colon, curl takes for a password.
shown_crt=$(printf '%s' "$crt" | sed 's/:/\\:/g')
for file in "$out/ca.crt" "$crt" "$key" "$key.next"; do
    [ ! -e "$file" ] || [ -f "$file" ] || die "$file is no file: move it away, or choose another directory with -o"
done
has_tools() { command -v curl >/dev/null && command -v openssl >/dev/null; }
holds() { openssl x509 -in "$crt" -noout -checkend 0 >/dev/null 2>&1; }
# Until when the certificate holds; nothing if it is none.
until_when() { openssl x509 -in "$crt" -noout -enddate 2>/dev/null | sed 's/.*=//'; }

renews=
if [ $# -eq 4 ]; then
    secret=$4
    if [ -e "$secret" ] && [ ! -d "$secret" ]; then
        secret=$(cat "$secret")
    else
        case $secret in *:mt_*@*/*) ;; */*) die "the last word names a file, and there is none (a password with a slash has to be in a file)" ;; esac
    fi
elif [ -e "$out/agent.json" ]; then
    die "in $out the agent renews: muster agent run --dir $out"
elif [ -s "$crt" ] && ! has_tools; then
    die "neither $crt can be looked at nor renewed: install curl and openssl"
elif [ -s "$crt" ] && holds; then
    renews=1
    secret=
else
    fix="muster token create $site"
    if [ -s "$crt" ]; then
        ended=$(until_when)
        say "the certificate in $crt ${ended:+ended on }${ended:-cannot be read}"
        fix="muster device recover $site"
    fi
    say "Enrolment token:"
    # Nobody reads along while it is typed, where there is stty.
    if [ -t 0 ] && stty -echo 2>/dev/null; then trap 'stty echo' EXIT && trap 'exit 1' HUP INT TERM; fi
    IFS= read -r secret || [ -n "$secret" ] || die "there is no enrolment token (at the CA: $fix)"
    if [ -t 0 ] && stty echo 2>/dev/null; then trap - EXIT HUP INT TERM && say ""; fi
fi
# As an editor on Windows saves it, with blanks around it, or as the whole code that stands for the agent.
secret=$(printf '%s' "$secret" | tr -d '\r')
bare=$(printf '%s' "$secret" | tr -d ' \t\n')
case $bare in
    mt_*) secret=$bare ;;
    *:mt_*@*/*) secret=mt_${bare#*:mt_} && secret=${secret%%@*} ;;
esac
case $secret in mt_*[!A-Za-z0-9_-]*) die "an enrolment token has letters, digits, '-' and '_' alone: this one was not copied as it is" ;; esac

# The broker's user has to come to the files; the key is closed by its own mode.
(umask 022 && mkdir -p "$out")
# Two at once, such as by hand and by a timetable, would take each other's files away. The lock goes with the process, however that ends.
if command -v flock >/dev/null; then
    exec 9<"$out"
    flock -n 9 || {
        say "waiting: another enroll-site.sh is at work in $out"
        flock 9
    }
fi

# A string of a JSON answer, up to its end. PEM and sentences hold no other escapes than these.
field() {
    printf '%b' "$(sed -n "s/.*\"$1\" *: *\"\([^\"\\\\]*\(\\\\.[^\"\\\\]*\)*\)\".*/\1/p" "$2" | sed 's/\\\(["/]\)/\1/g')"
}

# SHA-256 over the first certificate of a file, as fingerprints are given.
print_of() { openssl x509 -in "$1" -noout -fingerprint -sha256 2>/dev/null | sed 's/.*=//' | tr -d ':' | tr 'A-F' 'a-f'; }

# What was written stays, whatever happens to the power. Not every sync takes names.
keep() { sync "$@" 2>/dev/null || sync || die "cannot write to the disk: $*"; }

# Neither the CA nor who stands in its place fills the disk: 128 KiB.
bounded() { (ulimit -f 256 && exec curl "$@"); }

# A question to the CA: it has to show a certificate of the root with the fingerprint, and no other CA of this machine is
# believed, which curl would do without a directory of our own. -q: whatever somebody has set up for curl elsewhere.
ask() { bounded -q -sS --max-time 60 --cacert "$work/root.crt" --capath "$work" "$@" 2>"$work/curl"; }

# What openssl or curl has said last.
reason() {
    said=$(sed -n '1,3p' "$work/$1")
    printf '%s' "${said:-no reason was given: is the disk full?}"
}

# A place to work, and the root by which the CA is believed.
begin() {
    [ -z "$validity" ] || say "warning: -v does nothing here: the profile decides how long the certificate holds"
    work=$out/.$site.enrolling
    # What a run left that was cut off.
    rm -rf "$work"
    mkdir "$work"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    # The one answer that is fetched from nobody in particular: one certificate of it is believed, by its fingerprint alone.
    bounded -q -sS -k --max-time 30 -o "$work/root.json" "$url/root/$fingerprint" 2>"$work/curl" || unreached $?
    field ca "$work/root.json" >"$work/shown"
    openssl x509 -in "$work/shown" -out "$work/root.crt" 2>/dev/null && [ "$(print_of "$work/root.crt")" = "$fingerprint" ] ||
        die "$url does not show the root with this fingerprint: something stands between this machine and the CA, or it is another CA's"
}

# Whether a file holds more than blanks and zero bytes, which a power cut may leave. One that cannot be read may.
has_something() { [ -s "$1" ] && { [ ! -r "$1" ] || [ -n "$(tr -d '\000 \t\r\n' <"$1")" ]; }; }

# What belongs to another CA stays as it is, and is seen before a token is used: its certificate would be for the key in this directory alone.
# A profile may issue from another authority than the one of the fingerprint: the CA says which roots are its own.
may_use() {
    has_something "$out/ca.crt" || has_something "$crt" || return 0
    status=$(ask -o "$work/answer" -w '%{http_code}' "$url/federation") || unreached $?
    [ "$status" = 201 ] || refused
    tr '"' '\n' <"$work/answer" | sed -n '/^-----BEGIN CERT/p' >"$work/all"
    cp "$work/root.crt" "$work/cas"
    is_ours=
    while IFS= read -r one; do
        printf '%b\n' "$one" >"$work/pem"
        cat "$work/pem" >>"$work/cas"
        if verify "$out/ca.crt" "$work/pem"; then is_ours=1; fi
    done <"$work/all"
    if has_something "$out/ca.crt"; then
        [ -n "$is_ours" ] || belongs_to_another "$out/ca.crt"
        cat "$out/ca.crt" >>"$work/cas"
    fi
    # One that cannot be read is nobody's.
    openssl x509 -in "$crt" -out "$work/pem" 2>/dev/null || return 0
    verify "$work/cas" "$crt" || belongs_to_another "$crt"
}

belongs_to_another() {
    die "$1 belongs to another CA, and the token was not used: choose another directory with -o, or move that file away if nothing needs it," \
        "and run this again"
}

# A key in this file, unless there is one. It is there before the CA is asked, so that the same question can be asked again.
make_key() {
    if [ ! -s "$1" ]; then
        # The next key is for whoever may read the present one.
        [ ! -s "$key" ] || cp -p "$key" "$work/key"
        openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt >"$work/key"
        mv "$work/key" "$1"
    fi
    keep "$1" "$out"
    openssl req -new -key "$1" -subj "/CN=$site" -out "$work/csr" 2>"$work/said" || die "$(reason said)"
}

# Asks for a certificate for the key's request: the path, what goes before the request, and how curl shows who asks. The secret goes through a
# pipe: no file keeps it if the power goes.
ask_for() {
    path=$1 before=$2
    shift 2
    {
        printf '{%s"csr":"' "$before"
        while IFS= read -r line; do printf '%s\\n' "$line"; done <"$work/csr"
        printf '"}'
    } | ask "$@" -H 'content-type: application/json' -d @- -o "$work/answer" -w '%{http_code}' "$url/api/v1/$path"
}

# With curl and openssl: a key, a request, and one question to the CA.
with_token() {
    begin
    may_use
    make_key "$key"
    status=$(ask_for enrol "\"token\":\"$secret\",") || unreached $?
    case $status in
        200)
            read_answer
            first_ca
            put
            confirm
            ;;
        *) refused ;;
    esac
    say "$site has a certificate until $(until_when)"
}

# When the CA's plan says so, a certificate for another key, by the one that is there. The certificate is put in place before its key, which tells a
# run that comes after a power cut that the key is to follow.
renew() {
    begin
    next=$key.next
    if [ -s "$next" ] && is_for "$next"; then mv "$next" "$key"; fi
    openssl x509 -in "$out/ca.crt" -noout 2>/dev/null || mend_cas
    is_for "$key" || die "$key is not the key of $crt (an operator lets the site in again: muster device recover $site)"
    status=$(ask --cert "$shown_crt" --key "$key" -o "$work/answer" -w '%{http_code}' "$url/api/v1/agent/plan") || unreached $?
    [ "$status" = 200 ] || refused
    due=$(field renew_from "$work/answer")
    # Times are written so that the earlier one comes first.
    if expr "x$(field now "$work/answer")" \< "x$due" >/dev/null; then
        # A timetable mails what is said: then, what somebody has to know.
        [ ! -t 2 ] || say "$site is to renew from $due on; its certificate holds until $(until_when)"
        return
    fi
    make_key "$next"
    status=$(ask_for agent/renew '' --cert "$shown_crt" --key "$key") || unreached $?
    [ "$status" = 200 ] || refused
    read_answer
    # Another root is believed only by the word of one that is there.
    verify "$out/ca.crt" "$work/issuing" "$work/root" || die "the CA has sent another root, and none in $out/ca.crt vouches for it: $(reason said)"
    put
    mv "$next" "$key"
    confirm
    say "$site has renewed; its certificate holds until $(until_when)"
}

# ca.crt is gone. The root of the fingerprint has to vouch for the certificate that is there.
mend_cas() {
    cp "$crt" "$work/pem"
    verify "$work/root.crt" "$crt" || die "$out/ca.crt is gone, and the certificate comes from another root: an operator lets the site in again: muster device recover $site"
    { cat "$work/root.crt" && sed '1,/^-----END CERT/d' "$crt"; } >"$work/ca.crt"
    chmod 644 "$work/ca.crt"
    mv "$work/ca.crt" "$out/ca.crt"
    keep "$out/ca.crt" "$out"
    say "$out/ca.crt was gone and is there again"
}

# Whether a key is the certificate's.
is_for() { [ "$(openssl pkey -in "$1" -pubout 2>/dev/null)" = "$(openssl x509 -in "$crt" -noout -pubkey)" ]; }

# Whether what was issued leads to one of these CAs, by way of the others. Dates are left to those who have a right clock.
verify() {
    cas=$1
    shift
    cat "$@" >"$work/between"
    SSL_CERT_DIR=$work openssl verify -no_check_time -CAfile "$cas" -untrusted "$work/between" "$work/pem" >"$work/said" 2>&1
}

# The certificate, once it is one that devices may believe by what is written to ca.crt.
read_answer() {
    for part in pem issuing root; do field "$part" "$work/answer" >"$work/$part"; done
    verify "$work/root" "$work/issuing" ||
        die "what the CA sent is no certificate of its root: $(reason said)"
}

# What the CA says of its root with the first certificate is believed: a profile may issue from another authority. Until it hears that the
# certificate arrived, the same question gets the same one.
first_ca() {
    ! has_something "$out/ca.crt" || verify "$out/ca.crt" "$work/issuing" "$work/root" ||
        die "$out/ca.crt belongs to another authority of this CA than the certificate: move $key to another directory and run this again with -o" \
            "and that one, or move $out/ca.crt away if nothing needs it and run this again"
}

put() {
    cat "$work/root" "$work/issuing" >"$work/ca.crt"
    cat "$work/pem" "$work/issuing" >"$work/crt"
    chmod 644 "$work/ca.crt" "$work/crt"
    mv "$work/ca.crt" "$out/ca.crt"
    mv "$work/crt" "$crt"
}

# Once that is told, nobody gives it again.
confirm() {
    keep "$crt" "$out"
    ask -f --cert "$shown_crt" --key "$key" -X POST -o "$work/confirmed" "$url/api/v1/enrol/confirm" ||
        say "The CA was not told that the certificate has arrived; the next renewal does."
}

# Of a device that has said that it has its certificate, the CA says so; that is no failure while it holds.
refused() {
    said=$(field message "$work/answer" 2>/dev/null)
    [ -n "$said" ] || die "$url answered $status, and not as a CA does: something stands in front of it; run this again"
    case $said in
        *" had this key before"*) die "$said: mv $key $key.old, and run this again" ;;
        *" confirmed on "*"renew with that"*) holds || die "$said" ;;
        *) die "$said" ;;
    esac
}

unreached() {
    case $1 in
        23) die "cannot write to $out (is the disk full?): make room, and run this again" ;;
        153) die "$url sends more than an answer: something stands in its place" ;;
        51 | 60) die "$url does not show a certificate of this root for its name ($(reason curl)): ask by a name that the CA has (muster up --dns), with a clock that is right" ;;
        *) die "$url does not answer ($(reason curl)); run this again" ;;
    esac
}

# The agent says for itself where the CA is.
host=${url#https://}
case $host in *:[0-9]*) ;; *) host=$host:443 ;; esac

case $renews$secret in
    1) renew ;;
    mt_*)
        # Where an agent is at work, nobody else writes.
        if [ ! -e "$out/agent.json" ] && has_tools; then
            with_token
        elif [ -n "$agent" ]; then
            MUSTER_CODE=$site:$secret@$host/$fingerprint $agent enrol --dir "$out" >&2
        else
            ! has_tools || die "in $out an agent is at work, and muster is not installed: choose another directory with -o"
            die "neither curl and openssl nor muster is installed"
        fi
        ;;
    *)
        [ -n "$agent" ] || die "this is no enrolment token (mt_...), and a provisioner's password needs the program muster"
        say "warning: who reads this password can enrol any free name; an enrolment token is for one (at the CA: muster token create $site)"
        # printf is the shell's own: the password stands in nobody's arguments.
        printf '%s' "$secret" | $agent sign "$site" --ca-url "https://$host" --fingerprint "$fingerprint" \
            --provisioner "${PROVISIONER:-iot-devices}" --password-file /dev/stdin --validity "${validity:-720h}" --dir "$out" >&2
        ;;
esac

dir=$(cd "$out" && pwd)
cat <<CONF
# Connects this Mosquitto to the central broker as $site. Save as /etc/mosquitto/conf.d/bridge.conf.
# CHANGE THIS: mqtt.example.org stands for your broker's name. Mosquitto must be able to read the key:
#   chgrp mosquitto "$dir/$site.key" && chmod 640 "$dir/$site.key"
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
