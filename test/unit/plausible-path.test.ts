import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isPlausiblePath } from '../../src/plausible-path.ts'

describe('isPlausiblePath', () => {
  const paths = [
    ...['/etc/ssl/client.key', './client', '../certs/client', '~/.postgresql/postgresql.key', '/x', 'client.pem'],
    ...[
      'certs/client.crt',
      'etl.keytab',
      'db-password.txt',
      'C:\\certs\\client.pfx',
      'C:/certs/c@d.pem',
      '\\\\nas\\certs\\x',
    ],
    ...[
      '/tmp/krb5cc_0',
      'FILE:/tmp/krb5cc_0',
      'KEYRING:persistent:0',
      'KCM:',
      'KCM:1000',
      'MEMORY:jobs',
      'DIR::/x/tkt',
    ],
    ...['/var/run/secrets/kubernetes.io/serviceaccount/token', '/Users/JohnDoe/Projects/MyApp2024/TLS/ClientCert01'],
    '/var/lib/kubelet/pods/0f8fad5b-d9cb-469f-a165-70867728950e/volumes/kubernetes.io~secret/tls/tls.key',
    '/tmp/poolsmith-aB3dE5/Über Zertifikate/client key',
    `/${'a'.repeat(255)}`,
  ]
  for (const path of paths) it(`${path} can be a path`, () => assert.ok(isPlausiblePath(path)))

  const others = [
    ...['', 'hunter2', 'Tr0ub4dor&3', 'correct horse', '918273', 'client', 'certs/client', '~alice/x', 'system'],
    ...[
      '/a\nb',
      '/a\0b',
      '/\u009b2J',
      '/\ud800',
      `/${'a'.repeat(256)}`,
      '/a'.repeat(2049),
      '-----BEGIN CERTIFICATE-----',
    ],
    ...['/3Kqz7Xb0PfWm9+TqR4sLkE2hYdJ8NvGcU5oAiB1ZxM=', 'postgres://u:p@h/x.pem', '/x?password=y', 'engine:pkcs11 key'],
  ]
  for (const text of others)
    it(`${JSON.stringify(text).slice(0, 60)} can be none`, () => assert.ok(!isPlausiblePath(text)))
})
