import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openError } from '../../../../src/drivers/sqlserver/open-error.ts'
import { PoolsmithError } from '../../../../src/errors.ts'

test('what TLS says names no settings of libpq, and keeps everything but the hint', () => {
  for (const [code, hint] of [
    ['TLS_UNTRUSTED', /ca_file/],
    ['TLS_HOSTNAME_MISMATCH', /host_name_in_certificate/],
    ['TLS_VERSION', /TLS 1\.2/],
  ] as const) {
    const cause = new PoolsmithError('Said by TLS.', {
      code,
      phase: 'tls',
      transient: true,
      hint: 'ssl_min_protocol_version, sslrootcert',
      details: { host: 'db' },
    })
    const error = openError(new Error('tedious', { cause }), 'db', 'tls')
    assert.match(error.hint ?? '', hint)
    assert.doesNotMatch(error.hint ?? '', /ssl[a-z]*_|sslroot/)
    assert.deepEqual([error.code, error.phase, error.transient, error.details], [code, 'tls', true, { host: 'db' }])
  }
})
