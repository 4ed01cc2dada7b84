/** The parts of the Windows side that can be tested anywhere: layouts and codes. Its calls have never run. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadKoffi } from '../../../../src/kerberos/native/load.ts'
import { flagsFrom, isRefused, SEC, secBuffers, sspiCode } from '../../../../src/kerberos/native/sspi-buffers.ts'

test('buffers are described as SSPI lays them out on 64 bits', async () => {
  const koffi = await loadKoffi()
  const bytes = Buffer.from('token')
  const { description, at } = secBuffers(koffi, [
    { type: SEC.token, bytes },
    { type: SEC.data, bytes: undefined },
  ])
  assert.deepEqual([description.readUInt32LE(0), description.readUInt32LE(4)], [0, 2])
  const raw: Uint8Array = koffi.decode(description.readBigUInt64LE(8), 'uint8_t', 32)
  const view = Buffer.from(raw)
  assert.deepEqual([view.readUInt32LE(0), view.readUInt32LE(4)], [5, SEC.token])
  assert.equal(Buffer.from(koffi.decode(view.readBigUInt64LE(8), 'uint8_t', 5)).toString(), 'token')
  assert.deepEqual([view.readUInt32LE(16), view.readUInt32LE(20), view.readBigUInt64LE(24)], [0, SEC.data, 0n])
  assert.deepEqual(at(1), { length: 0, pointer: 0n })
})

test('known statuses have their codes, and a status to go on is no refusal', () => {
  assert.equal(isRefused(0), false)
  assert.equal(isRefused(0x00090312), false)
  assert.equal(isRefused(0x80090303 | 0), true)
  assert.equal(sspiCode(0x80090303 | 0), 'SPN_UNKNOWN')
  assert.equal(sspiCode(0x80090311), 'KDC_UNREACHABLE')
  assert.equal(sspiCode(0x80099999), 'GSS_FAILED')
})

test('flags by name', () => {
  assert.deepEqual(flagsFrom(0x10012), ['mutual', 'confidentiality', 'integrity'])
})
