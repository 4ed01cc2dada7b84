import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { certificateMatchesHost } from '../../../../src/drivers/network/host-name.ts'
import { createPki, type IssueOptions } from '../../../support/pki.ts'

const pki = createPki()

async function matches(names: IssueOptions, host: string): Promise<boolean> {
  const { cert } = await (await pki).issue(names)
  return certificateMatchesHost(new X509Certificate(cert), host)
}

const CASES: readonly [names: IssueOptions, accepted: readonly string[], refused: readonly string[]][] = [
  [
    { commonName: 'cn.test', dns: ['db.example.test'] },
    ['db.example.test', 'DB.Example.TEST'],
    ['cn.test', 'example.test', '.example.test', 'a.db.example.test', 'db.example.test.', '', '127.0.0.1'],
  ],
  [
    { commonName: 'x', dns: ['*.example.test'] },
    ['db.example.test', 'DB.example.test'],
    ['example.test', 'a.b.example.test', '*.b.example.test', '.example.test'],
  ],
  [
    { commonName: 'x', dns: ['d*.example.test', '*b.example.test', 'a.*.test', '*.test', '*'] },
    [],
    ['db.example.test', 'a.b.test', 'a.test', 'test'],
  ],
  [{ commonName: 'cn.test' }, ['cn.test', 'CN.test'], ['other.test', 'a.cn.test']],
  [{ commonName: '*.example.test' }, ['db.example.test'], ['example.test', 'a.b.example.test', '.example.test']],
  [{ commonName: '*.test' }, [], ['cn.test']],
  [{ commonName: 'cn.test', ip: ['127.0.0.1'] }, ['cn.test', '127.0.0.1'], ['127.0.0.2']],
  [{ commonName: '127.0.0.1' }, ['127.0.0.1'], ['127.0.0.2']],
  [{ commonName: '127.0.0.1', ip: ['127.0.0.2'] }, ['127.0.0.2'], ['127.0.0.1']],
  [{ commonName: '127.0.0.1', dns: ['db.test'] }, ['db.test', '127.0.0.1'], []],
  [{ commonName: '*.0.0.1' }, [], ['127.0.0.1']],
  [{ commonName: 'x', ip: ['::1'] }, ['::1', '0:0:0:0:0:0:0:1'], ['::2', 'x.test']],
  [{ commonName: 'x', dns: ['127.0.0.1'] }, [], ['127.0.0.1']],
]

for (const [names, accepted, refused] of CASES) {
  test(`a certificate for ${JSON.stringify(names)}`, async () => {
    for (const host of accepted) assert.equal(await matches(names, host), true, host)
    for (const host of refused) assert.equal(await matches(names, host), false, host)
  })
}
