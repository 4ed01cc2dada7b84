/** A sign-in in the browser of this machine: the code flow with a loopback address to come back to (RFC 8252, RFC 7636). */

import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { onAbort } from '../../abort.ts'

export interface BrowserRequest {
  readonly authorizeUrl: string
  readonly parameters: Readonly<Record<string, string | undefined>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Is handed the address, for the case that no browser opens. */
  readonly show: (url: string) => void
  readonly signal: AbortSignal
}

export interface AuthorizationCode {
  readonly code: string
  readonly redirectUri: string
  /** Proves that this process requested the code. */
  readonly verifier: string
}

/** The browser's answer is small; a longer one does not come from our sign-in. */
const MAX_FORM_BYTES = 64 * 1024

/** Opens the page and waits until the browser comes back from it. The port is closed in every case. */
export async function askInBrowser(request: BrowserRequest): Promise<AuthorizationCode> {
  const { signal } = request
  signal.throwIfAborted()
  const state = randomBytes(24).toString('base64url')
  const verifier = randomBytes(32).toString('base64url')
  const answer = Promise.withResolvers<string>()
  // It may fail before it is awaited.
  answer.promise.catch(() => undefined)
  const server = createServer((incoming, response) => {
    const reply = (status: number, words: string): void => {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(words)
    }
    readForm(incoming).then(
      (form) => {
        // A request that another page makes the browser send must not end the sign-in.
        if (form?.get('state') !== state) return reply(400, 'This is not the answer that is waited for.')
        const code = form.get('code')
        response.once('close', () => {
          if (code !== null) answer.resolve(code)
          else answer.reject(new Error(form.get('error_description') ?? form.get('error') ?? 'no code came back'))
        })
        reply(200, code === null ? 'The sign-in failed. You can close this window.' : 'You can close this window now.')
      },
      () => incoming.destroy(),
    )
  })
  using _ = onAbort(signal, () => answer.reject(signal.reason))
  try {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening', { signal })
    const redirectUri = `http://localhost:${(server.address() as AddressInfo).port}`
    const url = new URL(request.authorizeUrl)
    const parameters = {
      ...request.parameters,
      response_type: 'code',
      response_mode: 'form_post',
      redirect_uri: redirectUri,
      state,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      prompt: 'select_account',
    }
    for (const [name, value] of Object.entries(parameters)) if (value !== undefined) url.searchParams.set(name, value)
    request.show(url.href)
    openBrowser(url.href, request.environment)
    return { code: await answer.promise, redirectUri, verifier }
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

async function readForm(incoming: IncomingMessage): Promise<URLSearchParams | undefined> {
  if (incoming.method !== 'POST' || Number(incoming.headers['content-length']) > MAX_FORM_BYTES) return undefined
  let size = 0
  incoming.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > MAX_FORM_BYTES) incoming.destroy()
  })
  return new URLSearchParams(await text(incoming))
}

function openBrowser(url: string, environment: BrowserRequest['environment']): void {
  const [command, ...args] =
    process.platform === 'darwin'
      ? ['open', url]
      : process.platform === 'win32'
        ? ['rundll32', 'url.dll,FileProtocolHandler', url]
        : [environment.BROWSER || 'xdg-open', url]
  const child = spawn(command as string, args, { stdio: 'ignore', detached: true })
  // Where no browser opens, the user opens the address, which has been shown.
  child.on('error', () => undefined)
  child.unref()
}
