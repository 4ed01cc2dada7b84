import assert from 'node:assert/strict'
import type { NetworkInterfaceInfo } from 'node:os'
import { test } from 'node:test'
import { machineId } from '../../../../src/drivers/sqlserver/client-identity.ts'

const card = (mac: string, internal = false): { readonly card: NetworkInterfaceInfo[] } => ({
  card: [{ address: '10.0.0.1', netmask: '255.0.0.0', family: 'IPv4', mac, internal, cidr: '10.0.0.1/8' }],
})
const id = (...given: Parameters<typeof machineId>): string => machineId(...given).toString('hex')

test('a machine has the same id each time, and another one than every other machine and container', () => {
  const ours = id('a', card('02:00:00:00:00:01'))
  assert.equal(id('a', card('02:00:00:00:00:01')), ours)
  const others = [
    id('a', card('02:00:00:00:00:02')),
    id('b', card('02:00:00:00:00:01')),
    // Without a card of their own, processes are told apart.
    id('a', {}),
    id('a', {}),
    id('a', card('02:00:00:00:00:01', true)),
    id('a', card('00:00:00:00:00:00')),
  ]
  assert.equal(new Set([ours, ...others]).size, others.length + 1)
  for (const one of others) assert.match(one, /^[\da-f]{12}$/)
})
