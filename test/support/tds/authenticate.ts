/** Part of the TDS server test double: the proofs of a login: a password, a token, GSSAPI or NTLM. */

import type { Faults } from './faults.ts'
import { verifyToken } from './fedauth.ts'
import type { Login7 } from './login7.ts'
import type { LoginRecord, TdsServerOptions } from './options.ts'
import { type Message, PACKET, type Transport } from './packets.ts'
import { refusal, strike } from './strike.ts'
import { DONE, doneToken, fedAuthInfo, sspiToken } from './tokens.ts'
import { SqlError } from './translate.ts'

export async function authenticate(
  transport: Transport,
  login: Login7,
  options: TdsServerOptions,
  faults: Faults,
  expect: (type: number) => Promise<Message>,
  encryption: LoginRecord['encryption'],
): Promise<{ readonly name: string; readonly prefix: readonly Buffer[] }> {
  if (login.fedAuth !== undefined) {
    const rules = options.tokens
    const failed = (why: string): SqlError => new SqlError(18456, 1, 14, `Login failed for user ''.${why}`)
    if (rules === undefined) throw failed('')
    // A client that sends its token in the clear must not get through a test.
    if (encryption === 'none') throw failed('  Reason: A token needs an encrypted login.')
    if (options.fedAuthRequired === true && !login.fedAuth.echo) {
      throw failed('  Reason: The client did not repeat that federated authentication is required.')
    }
    const refused = await strike(transport, faults, 'fedauth')
    if (refused !== undefined) throw refusal(refused)
    let token = login.fedAuth.token
    if (token === undefined) {
      await transport.send(
        PACKET.response,
        Buffer.concat([
          fedAuthInfo(
            rules.stsUrl ?? 'https://login.microsoftonline.com/common',
            rules.audience ?? 'https://database.windows.net/',
          ),
          doneToken(DONE.final),
        ]),
      )
      const { data } = await expect(PACKET.fedAuthToken)
      token = data.subarray(8, 8 + data.readUInt32LE(4)).toString('utf16le')
    }
    return { name: await verifyToken(token, rules), prefix: [] }
  }
  if (login.integratedSecurity) return acceptSspi(transport, login, options, faults, expect)

  const entry = options.logins?.[login.user]
  const known = typeof entry === 'string' ? { password: entry } : entry
  if (known === undefined || known.password !== login.password) {
    throw new SqlError(18456, 1, 14, `Login failed for user '${login.user}'.`)
  }
  const reason = (number: number, text: string): SqlError =>
    new SqlError(number, 1, 14, `Login failed for user '${login.user}'.  Reason: ${text}`)
  if (login.newPassword !== '') {
    Object.assign(options.logins ?? {}, { [login.user]: login.newPassword })
    return { name: login.user, prefix: [] }
  }
  if (known.mustChange === true) throw reason(18488, 'The password of the account must be changed.')
  if (known.expired === true) throw reason(18487, 'The password of the account has expired.')
  return { name: login.user, prefix: [] }
}

async function acceptSspi(
  transport: Transport,
  login: Login7,
  options: TdsServerOptions,
  faults: Faults,
  expect: (type: number) => Promise<Message>,
): Promise<{ readonly name: string; readonly prefix: readonly Buffer[] }> {
  const untrusted = (): SqlError =>
    new SqlError(
      18452,
      1,
      14,
      'Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.',
    )
  const sspi = options.sspi
  if (sspi === undefined) throw untrusted()
  const acceptor = await sspi.acceptor({ channelBindings: () => transport.channelBindings })
  try {
    let token = login.sspi
    for (;;) {
      const refused = await strike(transport, faults, 'sspi')
      if (refused !== undefined) throw refusal(refused)
      const { output, principal } = await acceptor.step(token).catch((cause: unknown) => {
        throw Object.assign(untrusted(), { cause })
      })
      const reply = output === undefined || output.length === 0 ? [] : [sspiToken(output)]
      if (principal !== undefined) {
        if (sspi.principals !== undefined && !sspi.principals.includes(principal)) {
          throw new SqlError(18456, 1, 14, `Login failed for user '${principal}'.`)
        }
        if (sspi.reply === 'together' || reply.length === 0) return { name: principal, prefix: reply }
        await transport.send(PACKET.response, Buffer.concat(reply))
        return { name: principal, prefix: [] }
      }
      await transport.send(PACKET.response, Buffer.concat(reply))
      token = (await expect(PACKET.sspi)).data
    }
  } finally {
    acceptor.close()
  }
}
