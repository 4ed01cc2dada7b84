#!/bin/sh
# A domain with an account for the server, with its SPN and keytab, and one for a user.
set -eu

if [ ! -f /var/lib/samba/private/krb5.conf ]; then
  samba-tool domain provision --realm=POOLSMITH.TEST --domain=POOLSMITH --server-role=dc \
    --dns-backend=SAMBA_INTERNAL --adminpass=Poolsmith-1 --option='interfaces=lo eth0'
  samba-tool domain passwordsettings set --complexity=off
  samba-tool user create sqlserver Poolsmith-1
  samba-tool user setexpiry --noexpiry sqlserver
  samba-tool user create alice Poolsmith-1
  for name in MSSQLSvc/sqlserver.poolsmith.test:1433 MSSQLSvc/sqlserver.poolsmith.test; do
    samba-tool spn add "$name" sqlserver
  done
fi

samba --interactive --no-process-group &
until samba-tool dns query 127.0.0.1 poolsmith.test @ ALL -U Administrator%Poolsmith-1 >/dev/null 2>&1; do sleep 1; done
samba-tool dns add 127.0.0.1 poolsmith.test sqlserver A 172.30.88.3 -U Administrator%Poolsmith-1 || true
# Tickets for the server with AES keys only.
net ads enctypes set sqlserver 24 -U Administrator%Poolsmith-1

rm -f /keytabs/mssql.keytab
for principal in MSSQLSvc/sqlserver.poolsmith.test:1433 MSSQLSvc/sqlserver.poolsmith.test sqlserver; do
  samba-tool domain exportkeytab /keytabs/exporting --principal="$principal"
done
# The container of SQL Server runs as user 10001; the file appears only when it is complete.
chown 10001 /keytabs/exporting
chmod 400 /keytabs/exporting
mv /keytabs/exporting /keytabs/mssql.keytab
wait
