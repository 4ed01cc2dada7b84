/** NO_PROXY as curl reads it: curl itself is asked. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { isExcepted } from '../../src/drivers/network/proxy/no-proxy.ts'
import { isOwnMachine } from '../../src/drivers/network/proxy/own-machine.ts'
import { startProxyDouble } from '../support/proxy-double.ts'

const LISTS = [
  '',
  '*',
  ' * ',
  'other.test,*',
  'a.test',
  'A.TEST',
  '.a.test',
  '..a.test',
  'a.test.',
  '.a.test.',
  'b.test a.test',
  'b.test, ,a.test',
  '.test',
  'test',
  'est',
  '*.test',
  'xa.test',
  '127.0.0.0/8',
  '127.1.2.3',
  '127.1.2.0/24,a.test',
  '127.1.2.3/0',
  '127.1.2.3/33',
  '127.1',
  '::1',
]
/** Where curl goes directly, it finds nothing: all of them are this machine, at a port where nobody listens. */
const HOSTS = ['a.test', 'db.a.test', 'dot.a.test.', 'aa.test', '127.1.2.3', '127.200.0.1', '[::1]']

test('every list names the same hosts as for curl', async () => {
  await using proxy = await startProxyDouble({ answer: () => ({ send: 'HTTP/1.1 403 No\r\n\r\n', next: 'close' }) })
  const names = HOSTS.filter((host) => host.includes('.test')).map((host) => host.replace(/\.$/, ''))
  const always = [
    ...['-s', '--proxytunnel', '--proxy', `http://127.0.0.1:${proxy.port}`],
    ...names.flatMap((name) => ['--resolve', `${name}:1:127.0.0.1`, '--resolve', `${name}.:1:127.0.0.1`]),
  ]
  for (const list of LISTS) {
    const seen = proxy.requests.length
    const urls = HOSTS.map((host) => `http://${host}:1/`)
    await new Promise((resolve) => execFile('curl', [...always, ...urls], { env: { NO_PROXY: list } }, resolve))
    const proxied = new Set(proxy.requests.slice(seen).map(({ target }) => target.replace('.:', ':')))
    for (const host of HOSTS) {
      const name = host.replace(/^\[(.*)\]$/, '$1')
      const direct = !proxied.has(`${host.replace(/\.$/, '')}:1`)
      assert.equal(isExcepted(list, name, 1), direct, `NO_PROXY=${list} for ${host}`)
    }
  }
})

test('an invalid network names no host, as in newer versions of curl', () => {
  for (const list of ['10.1.2.3/8/8', '10.1.2.3/x', '10.1.2.3/'])
    assert.equal(isExcepted(list, '10.1.2.3', 1), false, list)
})

test('an IPv6 network is accepted, as curl documents (this version of curl fails to)', () => {
  assert.equal(isExcepted('fd00::/8', 'fd00:ec2::254', 1), true)
  assert.equal(isExcepted('fd00:ec2::/32', 'fd00:ec3::1', 1), false)
  assert.equal(isExcepted('[fd00::]/8', 'fd00::1', 1), false)
  assert.equal(isExcepted('::1/129', '::1', 1), false)
  assert.equal(isExcepted('10.0.0.0/8', '::ffff:10.0.0.1', 1), false)
})

test('an entry with a port names this port alone, unlike in curl', () => {
  assert.equal(isExcepted('a.test:5432', 'a.test', 5432), true)
  assert.equal(isExcepted('a.test:5432', 'db.a.test', 5432), true)
  assert.equal(isExcepted('a.test:5432', 'a.test', 5433), false)
  assert.equal(isExcepted('10.0.0.0/8:5432', '10.1.2.3', 5432), true)
  assert.equal(isExcepted('[::1]:5432', '::1', 5432), true)
  assert.equal(isExcepted('[::1]:5432', '::1', 1433), false)
  assert.equal(isExcepted('[::1]', '::1', 1433), true)
})

test('addresses of this machine are recognised in every spelling', () => {
  for (const host of [
    '169.254.169.254',
    '169.254.170.2',
    '169.254.170.23',
    'fd00:ec2::254',
    'FD00:0EC2:0:0:0:0:0:254',
    '::ffff:169.254.169.254',
    'fe80::a9fe:a9fe',
    '168.63.129.16',
    '127.0.0.1',
    '::1',
    'localhost',
    'LOCALHOST.',
    'api.localhost',
    'metadata.google.internal',
    'metadata',
  ]) {
    assert.equal(isOwnMachine(host), true, host)
  }
  for (const host of [
    'login.microsoftonline.com',
    'sts.amazonaws.com',
    '10.0.0.1',
    '8.8.8.8',
    'fd00::1',
    'metadata.example.com',
    'mylocalhost',
  ]) {
    assert.equal(isOwnMachine(host), false, host)
  }
})
