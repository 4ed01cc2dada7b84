/** The parts of a Vault that a test needs, of the double and of the real one. */

import type { IncomingHttpHeaders } from 'node:http'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Record<string, unknown>
  /** The name in the client's certificate. */
  readonly client?: string | undefined
}

export interface Reply {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** A role of a login method. */
export interface Role {
  readonly policies: readonly string[]
  readonly ttlSeconds: number
  readonly maxTtlSeconds: number
  readonly uses: number
  readonly audiences: readonly string[]
  /** The service accounts of Google that it is bound to. */
  readonly accounts?: readonly string[] | undefined
  /** The machine of Azure that it is bound to. */
  readonly machine?: string | undefined
}

export interface VaultServer extends AsyncDisposable {
  readonly address: string
  readonly rootToken: string
}

/** One request as an administrator makes it. @throws for any answer other than success */
export async function administer(
  { address, rootToken }: Pick<VaultServer, 'address' | 'rootToken'>,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Readonly<Record<string, unknown>>> {
  const response = await fetch(`${address}/v1/${path}`, {
    method,
    headers: { 'x-vault-token': rootToken, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
}
