/** The people of a tenant of Microsoft Entra, as the test double of it knows them, and its errors. */

import { createHash } from 'node:crypto'

export class Refusal extends Error {
  readonly number: string
  readonly word: string

  constructor(number: string, text: string, word = 'invalid_client') {
    super(text)
    this.number = number
    this.word = word
  }
}

/** The shape of an error of Entra's token endpoint. */
export function entraError(number: string, text: string, word = 'invalid_client'): unknown {
  return {
    error: word,
    error_description: `AADSTS${number}: ${text} Trace ID: 00000000-0000-0000-0000-000000000000 Correlation ID: 00000000-0000-0000-0000-000000000000 Timestamp: 2026-01-01 00:00:00Z`,
    error_codes: [Number(number)],
    timestamp: '2026-01-01 00:00:00Z',
    trace_id: '00000000-0000-0000-0000-000000000000',
    correlation_id: '00000000-0000-0000-0000-000000000000',
  }
}

/** The people of a tenant: the requests to sign in, and the answers. */
export class Persons {
  lifeSeconds = 3600
  readonly #passwords: Map<string, string>
  readonly #tenant: string
  readonly #codes = new Map<string, { readonly name: string; readonly challenge: string; readonly redirect: string }>()
  /** By device code: undefined until there is an answer, null after a refusal. */
  readonly #devices = new Map<string, string | null | undefined>()
  readonly #refreshTokens = new Map<string, string>()
  #serial = 0

  constructor(passwords: Readonly<Record<string, string>>, tenant: string) {
    this.#passwords = new Map(Object.entries(passwords))
    this.#tenant = tenant
  }

  deviceCode(): object {
    const code = `device-${++this.#serial}`
    this.#devices.set(code, undefined)
    const verification_uri = 'https://login.test/device'
    const message = `To sign in, open the page ${verification_uri} and enter the code ${code}`
    return { device_code: code, user_code: code, verification_uri, expires_in: 900, interval: 0.05, message }
  }

  changePassword(name: string, password: string): void {
    this.#passwords.set(name, password)
  }

  get deviceCodes(): readonly string[] {
    return [...this.#devices.keys()]
  }

  enter(userCode: string, name?: string): void {
    if (!this.#devices.has(userCode)) throw new Error(`nobody asked for ${userCode}`)
    this.#devices.set(userCode, name ?? null)
  }

  async visit(url: string, name?: string): Promise<{ status: number; words: string }> {
    const { searchParams: asked } = new URL(url)
    const redirect = asked.get('redirect_uri') ?? ''
    const code = `code-${++this.#serial}`
    const form = new URLSearchParams({ state: asked.get('state') ?? '' })
    if (asked.get('response_mode') !== 'form_post' || asked.get('code_challenge_method') !== 'S256') {
      throw new Error(`the page was asked for in another way: ${url}`)
    }
    if (name === undefined) {
      form.set('error', 'access_denied')
      form.set('error_description', 'AADSTS65004: User declined to consent.')
    } else {
      this.#codes.set(code, { name, challenge: asked.get('code_challenge') ?? '', redirect })
      form.set('code', code)
    }
    const response = await fetch(redirect.replace('localhost', '127.0.0.1'), { method: 'POST', body: form })
    return { status: response.status, words: await response.text() }
  }

  /** The user that a grant is for; undefined when it is not a grant for a person. */
  grant(form: URLSearchParams): string | undefined {
    switch (form.get('grant_type')) {
      case 'password': {
        const name = form.get('username') ?? ''
        const password = this.#passwords.get(name)
        if (password === undefined) throw new Refusal('50034', `The user account ${name} does not exist.`)
        if (form.get('password') !== password) throw new Refusal('50126', 'Invalid username or password.')
        return name
      }
      case 'authorization_code': {
        const code = form.get('code') ?? ''
        const known = this.#codes.get(code)
        this.#codes.delete(code)
        const proof = createHash('sha256')
          .update(form.get('code_verifier') ?? '')
          .digest('base64url')
        if (known === undefined) throw new Refusal('54005', 'The code was already redeemed.')
        if (proof !== known.challenge) throw new Refusal('501481', 'The Code_Verifier does not match.')
        if (form.get('redirect_uri') !== known.redirect) throw new Refusal('500112', 'Another redirect_uri.')
        return known.name
      }
      case 'device_code':
      case 'urn:ietf:params:oauth:grant-type:device_code': {
        const name = this.#devices.get(form.get('device_code') ?? '')
        if (name === undefined) throw new Refusal('70016', 'Nobody has signed in yet.', 'authorization_pending')
        if (name === null) throw new Refusal('65004', 'The user said no.', 'authorization_declined')
        return name
      }
      case 'refresh_token': {
        const name = this.#refreshTokens.get(form.get('refresh_token') ?? '')
        if (name === undefined) throw new Refusal('700082', 'The refresh token has expired.', 'invalid_grant')
        return name
      }
      default:
        return undefined
    }
  }

  /** MSAL needs these to know the account: an id token, and the account's tenant. */
  answer(name: string, clientId: string, accessToken: string, scope: string): object {
    const refreshToken = `refresh-${++this.#serial}`
    this.#refreshTokens.set(refreshToken, name)
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const now = Math.floor(Date.now() / 1000)
    const identity = { oid: `oid-of-${name}`, tid: this.#tenant, preferred_username: name, sub: name, aud: clientId }
    return {
      token_type: 'Bearer',
      scope,
      expires_in: this.lifeSeconds,
      ext_expires_in: this.lifeSeconds,
      access_token: accessToken,
      refresh_token: refreshToken,
      id_token: `${part({ alg: 'none' })}.${part({ ...identity, ver: '2.0', iat: now, exp: now + 3600 })}.`,
      client_info: part({ uid: `oid-of-${name}`, utid: this.#tenant }),
    }
  }

  forget(): void {
    this.#refreshTokens.clear()
  }
}

export function oauthError(error: unknown): unknown {
  if (error instanceof Refusal) return entraError(error.number, error.message, error.word)
  return entraError('700027', error instanceof Error ? error.message : 'The assertion is not valid.')
}
