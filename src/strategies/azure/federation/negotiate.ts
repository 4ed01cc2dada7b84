import { Agent, globalAgent } from 'node:https'
import { PoolsmithError } from '../../../errors.ts'
import type { GssContext } from '../../../kerberos/gss-api.ts'
import { parseChallenges } from '../../../kerberos/http-challenges.ts'
import { KDC_LIMIT_MILLIS } from '../../kerberos/ticket-cache.ts'
import { federationError } from './errors.ts'
import { type Answer, ask, type Question, type Web } from './https.ts'

/** Kerberos needs one; the limit ends an exchange with a server that never stops asking. */
const MAX_LEGS = 8

/**
 * A POST that authenticates by HTTP's Negotiate (RFC 4559). The first request carries the ticket. A proof of the
 * server's own that comes with the answer is verified; TLS has proved its identity already, so the proof may be missing.
 *
 * @param identity the owner of the ticket, for messages
 */
export async function askByTicket(
  question: Question,
  context: GssContext,
  identity: string,
  web: Web,
): Promise<Answer> {
  const { step, subject, url } = question
  // Where more than one request is needed, the server knows us by the connection.
  using agent = new OneConnection(web.agent ?? globalAgent)
  let received: Buffer | undefined
  for (let leg = 1; leg <= MAX_LEGS; leg++) {
    const token = await nextToken(context, received, question, web)
    if (token === undefined) break
    const headers = { ...question.headers, authorization: `Negotiate ${token.toString('base64')}` }
    const answer = await ask({ ...question, headers }, { ...web, agent })
    const challenges = parseChallenges([answer.headers['www-authenticate'] ?? ''])
    const negotiate = challenges.filter(({ scheme }) => scheme === 'negotiate')
    const reply = negotiate.find((each) => each.token !== undefined)?.token
    received = reply === undefined ? undefined : Buffer.from(reply, 'base64')
    if (answer.status !== 401) {
      if (received !== undefined && !context.complete) await nextToken(context, received, question, web)
      return answer
    }
    if (negotiate.length === 0) {
      const offered = challenges.map(({ scheme }) => scheme)
      throw federationError('FEDERATION_REFUSED', `${subject}: Kerberos is not taken there.`, {
        step,
        hint: `It offers ${offered.join(', ') || 'nothing'}; have Windows authentication by Negotiate enabled for ${url.pathname}.`,
        details: { offered },
      })
    }
    if (received === undefined || context.complete) break
  }
  throw federationError('FEDERATION_REFUSED', `${subject}: the Kerberos ticket of ${identity} is refused.`, {
    step,
    hint:
      `See that HTTP/${url.hostname} belongs to the account that AD FS runs as, that the clocks agree, and that ` +
      'Extended Protection is not required there (Get-AdfsProperties: ExtendedProtectionTokenCheck is Allow or None).',
    details: { principal: identity },
  })
}

/** @param received the server's token, which proves its identity: a wrong one is reported as an impostor */
async function nextToken(
  context: GssContext,
  received: Buffer | undefined,
  { step, subject, url }: Question,
  { signal }: Web,
): Promise<Buffer | undefined> {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(KDC_LIMIT_MILLIS)])
    const { token } = await context.step(received, { signal: limit })
    // A library may have more than Kerberos to put into SPNEGO.
    if (token?.includes('NTLMSSP')) throw new Error('NTLM was about to be sent')
    return token
  } catch (error) {
    signal.throwIfAborted()
    if (received !== undefined) {
      throw federationError('FEDERATION_NOT_GENUINE', `${subject}: it could not prove that it is itself.`, {
        step,
        hint: 'The key of its service account may have changed, or another server answers in its place.',
        cause: error,
      })
    }
    if (!(error instanceof PoolsmithError) || error.code !== 'SPN_UNKNOWN') throw error
    throw new PoolsmithError(`${subject}: ${error.message}`, {
      code: error.code,
      phase: error.phase,
      hint: `\`kvno HTTP/${url.hostname}\` must work: the account that AD FS runs as needs this name (setspn -L).`,
      details: { ...error.details, step },
      cause: error,
    })
  }
}

/** Keeps the connection between requests, however the agent beneath makes it. */
class OneConnection extends Agent implements Disposable {
  readonly #beneath: Agent

  constructor(beneath: Agent) {
    super({ keepAlive: true, maxSockets: 1 })
    this.#beneath = beneath
  }

  override createConnection(...args: Parameters<Agent['createConnection']>): ReturnType<Agent['createConnection']> {
    return this.#beneath.createConnection(...args)
  }

  [Symbol.dispose](): void {
    this.destroy()
  }
}
