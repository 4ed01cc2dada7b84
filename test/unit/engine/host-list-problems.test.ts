/** Wrong lists of hosts: each is refused with the rule that it breaks, before anything is opened. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConnectionInput } from '../../../src/connections/parse.ts'
import { createEngine } from '../../../src/engine/knex/create-engine.ts'
import { ConfigError } from '../../../src/errors.ts'

const base = { type: 'postgres', login: 'etl', database: 'sales' } as const

const CASES: readonly (readonly [what: string, input: ConnectionInput, path: string, rule: RegExp])[] = [
  ['fewer ports than hosts', { ...base, host: 'a,b,c', port: '1,2' }, 'port', /names 2 ports for 3 hosts/],
  ['more ports than hosts', { ...base, host: 'a,b', port: '1,2,3' }, 'port', /names 3 ports for 2 hosts/],
  ['several ports for one host', { ...base, host: 'a', port: '1,2' }, 'port', /names 2 ports for one host/],
  ['a port that is none', { ...base, host: 'a,b', port: '1,99999' }, 'port', /from 1 to 65535/],
  ['ports in both places', { ...base, host: 'a:1,b:2', port: 5 }, 'port', /keep one of them/],
  ['an empty list', { ...base, host: ',' }, 'host', /the first of the list: is empty/],
  ['an empty place', { ...base, host: 'a,,b' }, 'host', /the second of the list: is empty/],
  ['an empty place in a URI', 'postgres://etl@a:1,/sales', 'host', /the second of the list: is empty/],
  ['one host twice', { ...base, host: 'a,b,A' }, 'host', /the same host and port twice/],
  ['one host twice, with its port', { ...base, host: 'a:5432,a' }, 'host', /the same host and port twice/],
  ['a Unix socket', { ...base, host: 'a,/var/run/postgresql' }, 'host', /a Unix socket, which stands alone/],
  ['krbspn', { ...base, host: 'a,b', extra: { krbspn: 'postgres/a@R' } }, 'extra.krbspn', /names one server/],
  [
    'one hostaddr',
    { ...base, host: 'a,b', extra: { hostaddr: '10.0.0.1' } },
    'extra.hostaddr',
    /1 address for 2 hosts/,
  ],
  [
    'several hostaddr for one host',
    { ...base, host: 'a', extra: { hostaddr: '10.0.0.1,10.0.0.2' } },
    'extra.hostaddr',
    /2 addresses for 1 host/,
  ],
  [
    'a name as hostaddr',
    { ...base, host: 'a,b', extra: { hostaddr: '10.0.0.1,b' } },
    'extra.hostaddr',
    /expected an IP address/,
  ],
  [
    'rds_endpoint',
    { ...base, host: 'a,b', extra: { auth_method: 'iam', region: 'eu-west-1', rds_endpoint: 'a:5432' } },
    'extra.rds_endpoint',
    /names one server/,
  ],
  [
    'passfile',
    { ...base, host: 'a,b', extra: { passfile: '/nowhere' } },
    'extra.passfile',
    /with several hosts has one/,
  ],
  [
    'a role that there is not',
    { ...base, host: 'a,b', extra: { target_session_attrs: 'primry' } },
    'extra.target_session_attrs',
    /did you mean primary\?/,
  ],
  ['ports in keywords', 'host=a,b,c port=1,2 user=etl dbname=sales', 'port', /names 2 ports for 3 hosts/],
  [
    'hostaddr in keywords',
    'host=a,b hostaddr=10.0.0.1 user=etl dbname=sales',
    'extra.hostaddr',
    /1 address for 2 hosts/,
  ],
]

for (const [what, input, path, rule] of CASES) {
  test(`a list of hosts with ${what} is refused with its rule`, async () => {
    await assert.rejects(createEngine(input), (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error))
      const problem = error.problems.find((one) => one.path === path && rule.test(one.message))
      assert.ok(problem !== undefined, error.message)
      return true
    })
  })
}
