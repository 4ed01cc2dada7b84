/** The common setup of the SQL Server driver's tests: certificates, tokens, and doubles with a few logins. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import type { SqlServerDriver } from '../../../src/drivers/sqlserver/driver.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { temporaryFolder } from '../folder.ts'
import { createPki, type IssuedCertificate, type Pki } from '../pki.ts'
import { startPostgres } from '../postgres.ts'
import { open, password, type TestDriver, testDriver } from './driver.ts'
import { createIssuer, type TokenIssuer } from './issuer.ts'
import type { TdsServerOptions } from './options.ts'
import { startTdsServer, type TdsServer } from './server.ts'

export const SA = 'Pa55word!ü'

export interface SqlServerSetup {
  readonly folder: { readonly path: string }
  readonly pki: Pki
  readonly certificate: IssuedCertificate
  readonly caFile: string
  readonly issuer: TokenIssuer
  readonly start: (options?: Partial<TdsServerOptions>) => Promise<TdsServer>
}

export const sa = (): Credential => password('sa', SA)

/** Belongs at the top of a test file; everything stops at the end of the file. */
export async function sqlServerSetup(): Promise<SqlServerSetup> {
  const stack = new AsyncDisposableStack()
  after(() => stack.disposeAsync())
  const folder = stack.use(await temporaryFolder())
  const postgres = stack.use(await startPostgres())
  const pki = await createPki()
  const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  const caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  const logins = { sa: SA, late: { password: 'x', mustChange: true }, old: { password: 'x', expired: true } }
  return {
    folder,
    pki,
    certificate,
    caFile,
    issuer: await createIssuer(),
    start: (options = {}) => startTdsServer({ postgres, logins, tls: certificate, ...options }),
  }
}

/** The driver for one of these servers; it trusts their authority. */
export function driverFor(
  server: TdsServer,
  caFile: string,
  extra: Readonly<Record<string, unknown>> = {},
): TestDriver {
  return testDriver({ port: server.port, login: 'sa' }, { ca_file: caFile, ...extra })
}

/** The error of a failed attempt to open a session; asserts that it shows no password. */
export async function failure(driver: SqlServerDriver, credential = sa(), limitMillis = 5000): Promise<PoolsmithError> {
  try {
    const { raw } = await open(driver, credential, limitMillis)
    await driver.close(raw)
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, `not one of ours: ${String(error)}`)
    assert.ok(!JSON.stringify(error).includes(SA) && !error.message.includes(SA))
    return error
  }
  throw new assert.AssertionError({ message: 'the login went through' })
}
