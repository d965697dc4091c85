#!/bin/sh
# Starts the service in a container, where every address listens: never without a token. If none is given, one is made
# and printed, as it would be lost otherwise. Arguments go to `mobilesam serve`, such as --no-auth behind a gateway.
set -eu
case " $* " in
  *" --no-auth "* | *" --token"*) ;;
  *)
    if [ -z "${MOBILESAM_TOKEN:-}" ]; then
      MOBILESAM_TOKEN=$(python -c 'import secrets; print(secrets.token_urlsafe())')
      export MOBILESAM_TOKEN
      echo "token (Bearer, or the password that a browser asks for): $MOBILESAM_TOKEN"
    fi
    ;;
esac
exec mobilesam serve --host 0.0.0.0 --port 8000 "$@"
