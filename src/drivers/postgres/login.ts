import { PoolsmithError } from '../../errors.ts'
import type { Emit, EventFacts } from '../../events.ts'
import { printable } from '../../printable.ts'
import type { KerberosInfo } from '../driver.ts'
import { Wire } from '../network/wire.ts'
import type { SessionTarget } from '../session-target.ts'
import { MessageRules } from './message-rules.ts'
import {
  BodyReader,
  NotPostgres,
  queryMessage,
  readFields,
  readMessage,
  type ServerMessage,
  startupMessage,
} from './messages.ts'
import { poolerAdvice } from './pooler-words.ts'
import { Proof, type ProofRequest } from './proof.ts'
import { keyBounds, negotiatedVersion, type ProtocolVersions } from './protocol-version.ts'
import { endsSession, ServerRefusal } from './server-error.ts'
import { type Fitness, fitnessOf } from './session-target.ts'
import type { Transport } from './transport.ts'
import type { Answer, Ask, ValueSettings } from './value-settings.ts'

export interface LoginRequest extends Omit<ProofRequest, 'signal'> {
  /** The parameters of the start-up message besides the user and the settings. */
  readonly parameters: Readonly<Record<string, string>>
  readonly settings: ValueSettings
  readonly versions: ProtocolVersions
  /** The role that the server must have. */
  readonly target: SessionTarget
}

export interface LoginResult extends Fitness {
  /** The method, as in `SessionInfo.authentication`. */
  readonly authentication: string
  /** The identities that both ends proved by AuthenticationGSS. */
  readonly kerberos: KerberosInfo | undefined
  /** The settings that the server reported. */
  readonly parameters: ReadonlyMap<string, string>
  readonly processId: number
  readonly secretKey: Buffer
  /** The messages from AuthenticationOk to ReadyForQuery and notifications, for pg's parser. */
  readonly pending: Buffer
}

/** AuthenticationOk. */
const OK = 0

/** The limit for all that a server sends before the session is ready; a login takes about 1 KB. */
const MOST_BYTES = 1 << 20
/** The minimum that a message counts, since each one takes time however short it is. */
const LEAST_BYTES = 64
/** Message types of the login only, which are checked where they are answered. */
const OF_LOGIN = 'Rv'

/**
 * Starts a session and logs in (PostgreSQL documentation, "Start-up"), up to the first ReadyForQuery.
 *
 * @throws ServerRefusal, NotPostgres, StreamClosed; PoolsmithError PROTOCOL_UNSUPPORTED, AUTH_METHOD_UNSUPPORTED, AUTH_METHOD_REFUSED,
 *   CLEARTEXT_REFUSED, PASSWORD_MISSING, CHANNEL_BINDING_FAILED, SCRAM_FAILED, SERVER_NOT_GENUINE, SETTING_REFUSED, and
 *   those of GSSAPI; UnknownParameter
 */
export async function login(transport: Transport, request: LoginRequest, signal: AbortSignal): Promise<LoginResult> {
  using wire = new Wire(transport.stream, signal)
  const { settings, versions, user } = request
  const sent = settings.parameters()
  wire.write(startupMessage(versions.highest, { user, ...request.parameters, ...sent }))
  using proof = new Proof(wire, transport, { ...request, signal })
  const messages = new LoginMessages(wire, request.emit)
  try {
    const { authentication, version } = await authenticate(messages, proof, versions)
    const { kerberos } = proof
    const { parameters, pending, ...settled } = await settle(messages, version)
    const askHere: Ask = (sql) => ask(wire, messages, sql, parameters)
    await settings.correct(parameters, askHere)
    const fitness = await fitnessOf(request.target, parameters, askHere)
    return {
      authentication,
      kerberos,
      parameters,
      ...fitness,
      pending: Buffer.concat([...pending, ...messages.notifications]),
      ...settled,
    }
  } catch (cause) {
    if (cause instanceof ServerRefusal && settings.refusedBy(cause.fields, sent, proof.begun))
      throw new UnknownParameter()
    throw cause
  }
}

/** The server or a pooler does not know a parameter of the start-up message. The next attempt leaves it out. */
export class UnknownParameter extends Error {
  override readonly name = 'UnknownParameter'
}

/** The messages of the server until the session is ready, limited in number and size. */
class LoginMessages {
  readonly #wire: Wire
  readonly #emit: Emit
  readonly #rules = new MessageRules()
  #bytes = 0
  /** NotificationResponses, which a login trigger can cause. */
  readonly notifications: Buffer[] = []

  constructor(wire: Wire, emit: Emit) {
    this.#wire = wire
    this.#emit = emit
  }

  /** @throws NotPostgres, StreamClosed, the signal's reason */
  next(expected: string): Promise<ServerMessage> {
    return this.#read(expected)
  }

  /** After the login is accepted: notices and notifications may come before each message. @throws as `next` */
  async nextOfSession(expected: string): Promise<ServerMessage> {
    for (;;) {
      const message = await this.#read(`${expected}NA`, MOST_BYTES)
      if (message.type === 'N') this.#emit('connection:notice', noticeIn(message.body))
      else if (message.type === 'A') this.notifications.push(message.raw)
      else return message
    }
  }

  async #read(expected: string, longestText?: number): Promise<ServerMessage> {
    const message = await readMessage(this.#wire, expected, longestText)
    const { type, body, raw } = message
    this.#bytes += Math.max(raw.length, LEAST_BYTES)
    if (this.#bytes > MOST_BYTES) throw new NotPostgres('more messages than a login has')
    if (!OF_LOGIN.includes(type)) this.#rules.check(type.charCodeAt(0), body, 0, body.length)
    return message
  }
}

/** The limit of each text of a notice, in characters. */
const NOTICE_LENGTH = 10_000

function noticeIn(body: Buffer): EventFacts['connection:notice'] {
  const { S: severity = '', C: sqlstate, M: message = '', D: detail, H: hint } = readFields(body)
  const shown = (text: string | undefined) => (text === undefined ? undefined : printable(text, NOTICE_LENGTH))
  return {
    severity: printable(severity, 40),
    sqlstate: shown(sqlstate),
    message: printable(message, NOTICE_LENGTH),
    detail: shown(detail),
    hint: shown(hint),
  }
}

async function authenticate(
  messages: LoginMessages,
  proof: Proof,
  versions: ProtocolVersions,
): Promise<{ readonly authentication: string; readonly version: number }> {
  let version = versions.highest
  for (;;) {
    const message = await messages.next('REvN')
    if (message.type === 'E') {
      const fields = readFields(message.body)
      throw new ServerRefusal(fields, 'at-login', proof.adviceOnRefusal(fields))
    }
    if (message.type === 'N') continue
    const body = new BodyReader(message.body)
    if (message.type === 'v') {
      version = negotiatedVersion(body, { ...versions, highest: version })
      continue
    }
    const code = body.int32()
    if (code === OK) return { authentication: proof.accepted(), version }
    await proof.answer(code, body)
  }
}

type Settled = Pick<LoginResult, 'processId' | 'secretKey'> & {
  readonly parameters: Map<string, string>
  readonly pending: readonly Buffer[]
}

/** Reads what follows AuthenticationOk: the server's settings, the key for cancelling, and ReadyForQuery. */
async function settle(messages: LoginMessages, version: number): Promise<Settled> {
  const parameters = new Map<string, string>()
  const pending: Buffer[] = []
  let processId = 0
  let secretKey: Buffer = Buffer.alloc(4)
  for (;;) {
    const { type, body, raw } = await messages.nextOfSession('SKZE')
    if (type === 'E') throw new ServerRefusal(readFields(body), 'authenticated')
    pending.push(raw)
    if (type === 'Z') return { parameters, processId, secretKey, pending }
    const reader = new BodyReader(body)
    if (type === 'K') {
      processId = reader.int32()
      secretKey = Buffer.from(reader.rest())
      const { min, max } = keyBounds(version)
      if (secretKey.length < min || secretKey.length > max) {
        throw new NotPostgres('a key for cancelling of a wrong length')
      }
    } else {
      parameters.set(reader.string(), reader.string())
    }
  }
}

/** Runs one statement before the session is handed to pg. Settings that the server reports are added to `parameters`. */
async function ask(wire: Wire, messages: LoginMessages, sql: string, parameters: Map<string, string>): Promise<Answer> {
  wire.write(queryMessage(sql))
  let answer: Answer = {}
  for (;;) {
    const { type, body } = await messages.nextOfSession('TDCSEZ')
    if (type === 'Z') return answer
    const reader = new BodyReader(body)
    if (type === 'S') parameters.set(reader.string(), reader.string())
    else if (type === 'E') answer = { error: assertGoesOn(readFields(body)) }
    else if (type === 'D') answer = { value: reader.firstValue() }
  }
}

/** @throws ServerRefusal, PoolsmithError CONNECTION_CLOSED for an error with which a pooler or the server ends the session */
function assertGoesOn(fields: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  if (!endsSession({ code: fields.C, severity: fields.V ?? fields.S })) return fields
  // A pooler accepts the login and may find only then that it has no server.
  if (poolerAdvice(fields) !== undefined) throw new ServerRefusal(fields, 'authenticated')
  const words = printable(fields.M ?? 'no message')
  throw new PoolsmithError(`The server ended the session right after the login: ${words}`, {
    code: 'CONNECTION_CLOSED',
    phase: 'login',
    transient: true,
    hint: "The server's log says why; a server that is being stopped does this.",
    details: { sqlstate: printable(fields.C ?? '', 10) },
  })
}
