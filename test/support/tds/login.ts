/** Part of the TDS server test double: from the first byte to LOGINACK (MS-TDS 3.3.5). */

import { createSecureContext } from 'node:tls'
import { Backend, sqlError } from './backend.ts'
import { bindingsOf } from './channel-bindings.ts'
import type { Fault, Faults, Step } from './faults.ts'
import { verifyToken } from './fedauth.ts'
import { type Login7, readLogin7 } from './login7.ts'
import type { Journal, LoginRecord, TdsServerOptions } from './options.ts'
import { type Message, PACKET, type Transport } from './packets.ts'
import { ENCRYPT, negotiate, readPrelogin, writePrelogin } from './prelogin.ts'
import {
  DONE,
  doneToken,
  envBytes,
  envRouting,
  envText,
  errorToken,
  featureExtAck,
  fedAuthInfo,
  loginAck,
  sspiToken,
} from './tokens.ts'
import { SqlError } from './translate.ts'
import { COLLATION } from './types.ts'

export const VERSION = [16, 0, 1000] as const
export const PROGRAM = 'TDS test double'
export const SERVER_NAME = 'TEST-DOUBLE'
const FEATURE = { fedAuth: 0x02, utf8: 0x0a } as const

export interface LoggedIn {
  readonly login: string
  readonly database: string
  readonly backend: Backend
  readonly record: LoginRecord
}

/** The login has ended: refused, routed, or the client has disconnected. */
export class LoginEnded extends Error {}

export function backendConfig(options: TdsServerOptions, database: string): object {
  return {
    host: options.postgres.host,
    port: options.postgres.port,
    user: options.postgres.superuser,
    password: options.postgres.superuserPassword,
    database: database.toLowerCase() === 'master' ? 'postgres' : database,
  }
}

export const GARBAGE = 'HTTP/1.1 400 Bad Request\r\n\r\n not a TDS packet at all'

/** Applies the script's fault at this step; returns a refusal for the caller to send. */
export async function strike(
  transport: Transport,
  faults: Faults,
  step: Step,
  rows = 0,
  sql = '',
): Promise<Extract<Fault, { do: 'refuse' }> | undefined> {
  const fault = faults.take(step, rows, sql)
  switch (fault?.do) {
    case undefined:
      return undefined
    case 'refuse':
      return fault
    case 'delay':
      await new Promise((resolve) => setTimeout(resolve, fault.millis))
      return undefined
    case 'hang':
      while ((await transport.read()) !== undefined);
      throw new LoginEnded('hung')
    case 'cut':
      transport.end()
      throw new LoginEnded('cut')
    case 'reset':
      transport.socket.resetAndDestroy()
      throw new LoginEnded('reset')
    case 'garble':
      await transport.writeRaw(Buffer.from(GARBAGE))
      while ((await transport.read()) !== undefined);
      throw new LoginEnded('garbled')
  }
}

export function refusal(fault: Extract<Fault, { do: 'refuse' }>): SqlError {
  return new SqlError(fault.number, fault.state ?? 1, fault.class ?? 14, fault.message ?? `Error ${fault.number}.`)
}

export async function logIn(
  transport: Transport,
  options: TdsServerOptions,
  faults: Faults,
  journal: Journal,
  spid: number,
  onBackendEnd: () => void,
): Promise<LoggedIn> {
  const expect = async (type: number): Promise<Message> => {
    const message = await transport.read()
    if (message === undefined) throw new LoginEnded('the client left')
    if (message.type !== type) throw new LoginEnded(`a message of type ${message.type} where ${type} was due`)
    return message
  }
  const secureContext = (): ReturnType<typeof createSecureContext> => {
    if (options.tls === undefined) throw new LoginEnded('no certificate')
    return createSecureContext({ ...options.tls })
  }
  const support = options.encryption ?? (options.tls === undefined ? 'not-supported' : 'off')

  await strike(transport, faults, 'connect')
  const isStrict = await new Promise<boolean>((resolve, reject) => {
    transport.onFirstByte((isTls) => {
      if (isTls ? support !== 'strict' && options.strictToo !== true : support === 'strict') {
        transport.socket.destroy()
        reject(new LoginEnded('TDS 8.0 on one side only'))
      } else if (!isTls) resolve(false)
      else transport.startTls(secureContext(), false).then(() => resolve(true), reject)
    })
    transport.socket.once('close', () => reject(new LoginEnded('the client left')))
  })

  const prelogin = readPrelogin((await expect(PACKET.prelogin)).data)
  await strike(transport, faults, 'prelogin')
  const agreed = isStrict ? ENCRYPT.notSupported : negotiate(prelogin.encryption, support as 'off')
  const instance = options.instance ?? 'MSSQLSERVER'
  await transport.send(
    PACKET.response,
    writePrelogin({
      version: VERSION,
      encryption: agreed,
      instanceMatches: prelogin.instance === '' || prelogin.instance.toUpperCase() === instance.toUpperCase(),
      fedAuthRequired: options.fedAuthRequired === true && prelogin.fedAuthRequired !== undefined,
    }),
  )
  const tls = !isStrict && agreed !== ENCRYPT.notSupported
  if (tls) {
    await strike(transport, faults, 'tls')
    // Before TDS 8.0, servers support TLS 1.2 at most.
    await transport.startTls(createSecureContext({ ...options.tls, maxVersion: 'TLSv1.2' }), true)
  }
  const tlsServerName = transport.tls?.servername || undefined
  if (transport.tls !== undefined) transport.channelBindings = bindingsOf(transport.tls, isStrict, options)
  const login = readLogin7((await expect(PACKET.login7)).data)
  transport.spid = spid
  const loginOnly = agreed === ENCRYPT.off
  if (loginOnly) transport.stopTls()

  const record: LoginRecord = {
    spid,
    user: login.user,
    authentication: authenticationOf(login),
    applicationName: login.applicationName,
    hostName: login.hostName,
    serverName: login.serverName,
    libraryName: login.libraryName,
    clientVersion: login.clientVersion,
    clientId: login.clientId,
    language: login.language,
    database: login.database,
    packetSize: login.packetSize,
    tdsVersion: login.tdsVersion,
    readOnlyIntent: login.readOnlyIntent,
    flags: login.flags,
    features: login.features,
    encryption: isStrict ? 'strict' : loginOnly ? 'login-only' : tls ? 'tls' : 'none',
    tlsServerName,
    sspiLength: login.sspi.length,
    sspiHead: Buffer.from(login.sspi.subarray(0, 32)),
    fedAuthEcho: login.fedAuth?.echo,
    accepted: false,
  }
  journal.logins.push(record)

  try {
    const refused = await strike(transport, faults, 'login')
    if (refused !== undefined) throw refusal(refused)
    const { name, prefix } = await authenticate(transport, login, options, faults, expect)
    const ack = [...prefix, loginAck(login.tdsVersion, PROGRAM, VERSION), ...acknowledgedFeatures(login)]
    if (options.routing !== undefined) {
      await transport.send(
        PACKET.response,
        Buffer.concat([...ack, envRouting(options.routing.server, options.routing.port), doneToken(DONE.final)]),
      )
      transport.end()
      throw new LoginEnded('routed')
    }
    const database = login.database === '' ? 'master' : login.database
    const backend = await openDatabase(options, database, name, onBackendEnd)
    // A packet must fit into one record of TLS.
    const largest = transport.tls === undefined || loginOnly ? 32_767 : 16_383
    const packetSize = Math.min(Math.max(login.packetSize === 0 ? 4096 : login.packetSize, 512), largest)
    const info = (number: number, message: string): Buffer =>
      errorToken({ number, state: 2, class: 0, message }, SERVER_NAME, true)
    await transport.send(
      PACKET.response,
      Buffer.concat([
        envText('database', database, 'master'),
        info(5701, `Changed database context to '${database}'.`),
        envBytes('collation', COLLATION, Buffer.alloc(0)),
        envText('language', 'us_english', ''),
        info(5703, 'Changed language setting to us_english.'),
        ...ack,
        envText('packetSize', String(packetSize), '4096'),
        doneToken(DONE.final),
      ]),
    )
    transport.packetSize = packetSize
    record.accepted = true
    return { login: name, database, backend, record }
  } catch (error) {
    if (!(error instanceof SqlError)) throw error
    const errors = [error]
    // SQL Server sends the reason why the database did not open, then the error that the login failed.
    if (error.number === 4060) errors.push(new SqlError(18456, 1, 14, `Login failed for user '${login.user}'.`))
    await transport.send(
      PACKET.response,
      Buffer.concat([...errors.map((one) => errorToken(one, SERVER_NAME)), doneToken(DONE.error)]),
    )
    transport.end()
    throw new LoginEnded('refused')
  }
}

function authenticationOf(login: Login7): LoginRecord['authentication'] {
  if (login.fedAuth !== undefined) return login.fedAuth.library === 'adal' ? 'adal' : 'fedauth'
  return login.integratedSecurity ? 'sspi' : 'sql'
}

function acknowledgedFeatures(login: Login7): Buffer[] {
  const features: [number, Buffer][] = []
  if (login.fedAuth !== undefined) features.push([FEATURE.fedAuth, Buffer.alloc(0)])
  if (login.features.includes(FEATURE.utf8)) features.push([FEATURE.utf8, Buffer.from([1])])
  return features.length === 0 ? [] : [featureExtAck(features)]
}

async function authenticate(
  transport: Transport,
  login: Login7,
  options: TdsServerOptions,
  faults: Faults,
  expect: (type: number) => Promise<Message>,
): Promise<{ readonly name: string; readonly prefix: readonly Buffer[] }> {
  if (login.fedAuth !== undefined) {
    const rules = options.tokens
    if (rules === undefined) throw new SqlError(18456, 1, 14, `Login failed for user ''.`)
    if (options.fedAuthRequired === true && !login.fedAuth.echo) {
      throw new LoginEnded('the client did not repeat that federated authentication is required')
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

async function openDatabase(
  options: TdsServerOptions,
  database: string,
  login: string,
  onEnd: () => void,
): Promise<Backend> {
  try {
    return await Backend.connect(backendConfig(options, database), onEnd)
  } catch (error) {
    const known = sqlError(error)
    if (!(known instanceof SqlError) || known.number !== 4060) throw error
    throw new SqlError(
      4060,
      1,
      11,
      `Cannot open database "${database}" requested by the login. The login failed for user '${login}'.`,
    )
  }
}
