import assert from 'node:assert/strict'
import test from 'node:test'
import { regionOfHost } from '../../../../src/strategies/aws/region.ts'

for (const [host, region] of [
  ['db.c9akciq32.eu-west-1.rds.amazonaws.com', 'eu-west-1'],
  ['DB.C9AKCIQ32.EU-West-1.RDS.amazonaws.com.', 'eu-west-1'],
  ['app.cluster-c9akciq32.us-gov-west-1.rds.amazonaws.com', 'us-gov-west-1'],
  ['app.cluster-ro-c9akciq32.ap-southeast-2.rds.amazonaws.com', 'ap-southeast-2'],
  ['p.proxy-c9akciq32.us-east-1.rds.amazonaws.com', 'us-east-1'],
  ['e.endpoint.proxy-c9akciq32.us-east-1.rds.amazonaws.com', 'us-east-1'],
  ['db.c9akciq32.cn-north-1.rds.amazonaws.com.cn', 'cn-north-1'],
  ['db.c9akciq32.rds.cn-north-1.amazonaws.com.cn', 'cn-north-1'],
  ['db.internal', undefined],
  ['localhost', undefined],
  ['', undefined],
  ['db.c9akciq32.eu-west-1.rds.amazonaws.com.evil.example', undefined],
  ['eu-west-1.rds.amazonaws.com', undefined],
] as const) {
  test(`${host || 'no host'} is in ${region ?? 'no region that it says'}`, () => {
    assert.equal(regionOfHost(host), region)
  })
}
