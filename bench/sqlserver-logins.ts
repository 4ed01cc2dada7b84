/** The time of one login by each method that bare tedious has too, to the same server under the same encryption. */

import type { Credential } from '../src/credentials/credential.ts'
import { createPki } from '../test/support/pki.ts'
import { startPostgres } from '../test/support/postgres.ts'
import { connectStock, type StockAuthentication, sqlLogin } from '../test/support/tds/clients.ts'
import { open, password, testDriver, token } from '../test/support/tds/driver.ts'
import { createIssuer } from '../test/support/tds/issuer.ts'
import { startTdsServer } from '../test/support/tds/server.ts'
import { compare, type Result } from './measure.ts'

const LOGINS = 4
const ROUNDS = 12

interface Method {
  readonly name: string
  readonly encrypt: 'true' | 'strict'
  readonly credential: Credential
  readonly authentication: StockAuthentication
}

async function millisOf(login: () => Promise<void>): Promise<number> {
  const begin = performance.now()
  for (let count = 0; count < LOGINS; count++) await login()
  return (performance.now() - begin) / LOGINS
}

export async function logins(): Promise<Result[]> {
  await using postgres = await startPostgres()
  const pki = await createPki()
  const tls = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  const issuer = await createIssuer()
  const access = await issuer.issue()
  await using server = await startTdsServer({
    postgres,
    tls,
    logins: { sa: 'pw' },
    tokens: issuer.rules,
    strictToo: true,
  })
  const byPassword = { credential: password('sa', 'pw'), authentication: sqlLogin('sa', 'pw') }
  const methods: readonly Method[] = [
    { name: 'password', encrypt: 'true', ...byPassword },
    { name: 'password, strict', encrypt: 'strict', ...byPassword },
    {
      name: 'token',
      encrypt: 'true',
      credential: token(access),
      authentication: { type: 'azure-active-directory-access-token', options: { token: access } },
    },
  ]
  const results: Result[] = []
  for (const { name, encrypt, credential, authentication } of methods) {
    const { driver } = testDriver({ port: server.port, login: 'sa' }, { encrypt, ca_file: pki.ca })
    const options = {
      encrypt: encrypt === 'strict' ? encrypt : true,
      cryptoCredentialsDetails: { ca: pki.ca },
    } as object
    results.push(
      await compare({
        name: `login by ${name}`,
        unit: 'ms',
        bound: 1.15,
        rounds: ROUNDS,
        ours: () => millisOf(async () => driver.close((await open(driver, credential)).raw)),
        peer: () => millisOf(async () => (await connectStock({ port: server.port, authentication, options })).close()),
      }),
    )
  }
  return results
}
