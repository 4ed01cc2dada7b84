/** Servers that fail at a chosen point of the login, for tests of the error that each failure becomes. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Credential } from '../../src/credentials/credential.ts'
import type { ErrorCode, Phase } from '../../src/errors.ts'
import { authentication, errorResponse, type FakePostgres, type Peer, startFakePostgres } from './fake-postgres.ts'
import { createPki } from './pki.ts'
import {
  driverFor,
  openingError,
  passwordCredential,
  type TestDriver,
  type TestDriverContext,
} from './postgres-driver.ts'

export const PASSWORD = 'do not tell'
export const SCRAM = 'SCRAM-SHA-256\0\0'
export const certificate = createPki().then((pki) => pki.issue({ commonName: 'localhost' }))

/** A driver for the fake server, without TLS unless `extra` says otherwise. */
export function driverTo(
  fake: FakePostgres,
  extra: Record<string, unknown> = {},
  context?: TestDriverContext,
): TestDriver {
  return driverFor({ host: '127.0.0.1', port: fake.port, login: 'alice' }, { sslmode: 'disable', ...extra }, context)
}

/** A server that fails, and the error that the driver reports. */
export interface Fault {
  readonly name: string
  readonly script: (peer: Peer) => Promise<void> | void
  readonly extra?: Record<string, unknown>
  readonly credential?: Credential
  readonly code: ErrorCode
  readonly phase: Phase
}

/** Sends the server's first SCRAM message; `shape` gets the client's nonce. */
export async function scram(peer: Peer, shape: (nonce: string) => string): Promise<void> {
  await peer.startup()
  peer.send(authentication(10, SCRAM))
  const { body } = await peer.message()
  const nonce = /r=(.*)$/.exec(body.toString('latin1'))?.[1] ?? ''
  peer.send(authentication(11, shape(nonce)))
}

export const refused =
  (code: string, routine: string, words = 'no') =>
  async (peer: Peer) => {
    await peer.startup()
    peer.send(errorResponse({ C: code, M: words, R: routine }))
    peer.end()
  }

export const asks = (code: number, rest?: string) => async (peer: Peer) => {
  await peer.startup()
  peer.send(authentication(code, rest))
  const answer = await peer.message()
  assert.fail(`the client answered with ${answer.type}`)
}

/** One test for each fault: code, phase and hint of its error, one attempt, no secret, no open connection. */
export function testFaults(faults: readonly Fault[]): void {
  for (const fault of faults) {
    test(`${fault.name} is ${fault.code}`, async () => {
      await using fake = await startFakePostgres(fault.script)
      const { driver } = driverTo(fake, fault.extra)
      const error = await openingError(driver, fault.credential ?? passwordCredential(PASSWORD))
      assert.equal(error.code, fault.code, error.message)
      assert.equal(error.phase, fault.phase)
      assert.ok(error.hint !== undefined && error.hint.length > 10)
      assert.ok(!JSON.stringify(error).includes(PASSWORD))
      await fake.deserted()
      assert.equal(fake.accepted(), 1, 'it is tried once')
    })
  }
}
