import assert from 'node:assert/strict'
import { test } from 'node:test'
import { numericAddress } from '../../../../src/drivers/network/numeric-address.ts'

test('every form of an address that inet_aton reads becomes the usual one', () => {
  for (const [text, address] of [
    ['10.0.0.5', '10.0.0.5'],
    ['10.5', '10.0.0.5'],
    ['10.1.515', '10.1.2.3'],
    ['167772165', '10.0.0.5'],
    ['0x0A.0.0.012', '10.0.0.10'],
    ['0', '0.0.0.0'],
    ['4294967295', '255.255.255.255'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
  ] as const) {
    assert.equal(numericAddress(text), address, text)
  }
})

test('a name is no address', () => {
  const names = [
    '',
    '.',
    'db',
    '1.2.3.4.5',
    '256.1.1.1',
    '1.2.3.256',
    '4294967296',
    '08',
    '0x',
    '1..2',
    '1.',
    '-1',
    ' 1',
  ]
  for (const name of names) assert.equal(numericAddress(name), undefined, name)
})
