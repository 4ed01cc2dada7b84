/** The messages of a login after LOGIN7 (MS-TDS 3.2.5.3 and 3.2.5.4). */

import { onAbort, orAbort } from '../../abort.ts'
import type { KerberosInfo } from '../driver.ts'
import { acknowledgedVersion, splitLoginReply } from './login-bytes.ts'
import { assertVersion, unproven } from './login-errors.ts'
import { NotSqlServer, PACKET } from './packets.ts'
import type { SspiProvider } from './sspi.ts'
import type { LoginHandler, MessageLine } from './tedious-internals.ts'

/** Kerberos needs one token of the server, SPNEGO up to three. */
const MOST_GSS_TOKENS = 10

export interface LoginExchange {
  readonly line: MessageLine
  readonly host: string
  /** Whether TDS 8.0 may be acknowledged. */
  readonly isStrict: boolean
  readonly enter: (phase: 'gss' | 'login') => void
  /** Called before our next message: it goes in plain where TLS covers LOGIN7 alone. */
  readonly endLoginTls: () => void
  /** Reads the tokens of one answer. */
  readonly parse: (tokens: Buffer) => Promise<LoginHandler>
  /** Ends the waiting for an answer that has not arrived. */
  readonly signal: AbortSignal
  /**
   * Ends everything else: an answer that has arrived is read although the server has closed the connection, as it does
   * after routing.
   */
  readonly untilClosed: AbortSignal
}

/** The GSS or NTLM context of the login. */
export interface LoginContext {
  readonly provider: SspiProvider
  /** Whether the first token was enough for our side. */
  readonly complete: boolean
}

export interface LoginResult {
  /** Where the server sends the login on to; undefined when the session is open. */
  readonly routing: unknown
  readonly kerberos: KerberosInfo | undefined
}

/**
 * Reads answers until the server accepts the login, routes it to another server, or refuses it.
 *
 * @throws NotSqlServer; PoolsmithError SERVER_NOT_GENUINE, TDS_VERSION; tedious' error for a refusal
 */
export async function finishLogin(exchange: LoginExchange, context: LoginContext | undefined): Promise<LoginResult> {
  let isComplete = context?.complete ?? true
  for (let tokens = 0; ; ) {
    const answer = await nextAnswer(exchange)
    const version = acknowledgedVersion(answer)
    if (version !== undefined) assertVersion(version, exchange.host, exchange.isStrict)
    const { sspi, rest } = splitLoginReply(answer)
    tokens += sspi.length
    if (tokens > MOST_GSS_TOKENS) throw new NotSqlServer(`more than ${MOST_GSS_TOKENS} GSS tokens`)
    for (const token of sspi) isComplete = await answerToken(token, exchange, context?.provider)
    const handler = rest.length === 0 ? undefined : await exchange.parse(rest)
    if (handler?.loginError !== undefined) throw handler.loginError
    if (handler?.loginAckReceived === true) {
      if (!isComplete) throw unproven()
      return { routing: handler.routingData, kerberos: context?.provider.peers?.() }
    }
    // A reply token may come in a message of its own, and the rest in the next.
    if (sspi.length === 0) throw new NotSqlServer('an answer that neither accepts nor refuses the login')
  }
}

/**
 * The next answer. One that arrived before the connection ended is read all the same, after one turn of the event loop:
 * a server that sends the login on to another one closes at once, perhaps while a token is still checked.
 */
async function nextAnswer({ line, signal, untilClosed }: LoginExchange): Promise<Buffer> {
  const ended = new AbortController()
  using _ = onAbort(signal, () => setImmediate(() => ended.abort(signal.reason)))
  try {
    return await orAbort(orAbort(line.read(), ended.signal), untilClosed)
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
}

/** Hands a token of the server to the context, and its answer back. Returns whether our side is complete. */
async function answerToken(token: Buffer, exchange: LoginExchange, provider?: SspiProvider): Promise<boolean> {
  if (provider === undefined) throw new NotSqlServer('a GSS token in the answer to another kind of login')
  exchange.enter('gss')
  const { output, complete } = await orAbort(provider.step(token), exchange.untilClosed)
  if (output !== undefined && output.length > 0) {
    exchange.endLoginTls()
    exchange.line.send(PACKET.sspi, output)
  }
  exchange.enter('login')
  return complete
}
