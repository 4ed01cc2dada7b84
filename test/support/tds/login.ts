/** Part of the TDS server test double: from the first byte to LOGINACK (MS-TDS 3.3.5). */

import { createSecureContext } from 'node:tls'
import { authenticate } from './authenticate.ts'
import { Backend, sqlError } from './backend.ts'
import { bindingsOf } from './channel-bindings.ts'
import type { Faults } from './faults.ts'
import { isBefore72, type Login7, readLogin7 } from './login7.ts'
import type { Journal, LoginRecord, TdsServerOptions } from './options.ts'
import { type Message, PACKET, type Transport } from './packets.ts'
import { ENCRYPT, negotiate, readPrelogin, writePrelogin } from './prelogin.ts'
import { LoginEnded, refusal, strike } from './strike.ts'
import {
  DONE,
  doneToken,
  envBytes,
  envRouting,
  envText,
  errorToken,
  featureExtAck,
  loginAck,
  oldErrorToken,
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
  /** Whether the client takes UTF-8. */
  readonly utf8: boolean
  /** Whether the client begins sessions inside of the connection. */
  readonly mars: boolean
}

export function backendConfig(options: TdsServerOptions, database: string): object {
  return {
    host: options.postgres.host,
    port: options.postgres.port,
    user: options.postgres.superuser,
    password: options.postgres.superuserPassword,
    database: database.toLowerCase() === 'master' ? 'postgres' : database,
  }
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
  const mars = prelogin.mars && options.mars !== false
  const instance = options.instance ?? 'MSSQLSERVER'
  await transport.send(
    PACKET.response,
    writePrelogin({
      version: VERSION,
      encryption: agreed,
      instanceMatches: prelogin.instance === '' || prelogin.instance.toUpperCase() === instance.toUpperCase(),
      mars,
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
  const { data } = await expect(PACKET.login7)
  if (isBefore72(data)) {
    await transport.send(PACKET.response, oldErrorToken('The TDS test double speaks TDS 7.2 and later.', SERVER_NAME))
    transport.end()
    throw new LoginEnded('TDS 7.1 or older')
  }
  const login = readLogin7(data)
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
    fedAuth: login.fedAuth?.data,
    prelogin: prelogin.options,
    accepted: false,
  }
  journal.logins.push(record)

  try {
    const refused = await strike(transport, faults, 'login')
    if (refused !== undefined) throw refusal(refused)
    const { name, prefix } = await authenticate(transport, login, options, faults, expect, record.encryption)
    const utf8 = options.utf8 !== false && login.features.includes(FEATURE.utf8)
    const ack = [
      ...prefix,
      loginAck(options.acknowledgedVersion ?? login.tdsVersion, PROGRAM, VERSION),
      ...acknowledgedFeatures(login, utf8),
    ]
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
    const largest = options.largestPacket ?? (transport.tls === undefined || loginOnly ? 32_767 : 16_383)
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
    transport.grant(packetSize)
    record.accepted = true
    return { login: name, database, backend, record, utf8, mars }
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

function acknowledgedFeatures(login: Login7, utf8: boolean): Buffer[] {
  const features: [number, Buffer][] = []
  if (login.fedAuth !== undefined) features.push([FEATURE.fedAuth, Buffer.alloc(0)])
  if (utf8) features.push([FEATURE.utf8, Buffer.from([1])])
  return features.length === 0 ? [] : [featureExtAck(features)]
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
