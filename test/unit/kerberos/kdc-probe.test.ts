import assert from 'node:assert/strict'
import { test } from 'node:test'
import { probeKdc } from '../../../src/kerberos/kdc-probe.ts'

for (const transport of ['udp', 'tcp'] as const) {
  test(`${transport}: a KDC whose name cannot be resolved is an error of the call, not the end of the process`, async () => {
    const question = { principal: 'alice', realm: 'TEST.REALM', encryptionTypes: [18] }
    const kdc = { host: 'kdc.nowhere.invalid', port: 88 }
    await assert.rejects(probeKdc(kdc, transport, question, AbortSignal.timeout(10_000)))
  })
}
