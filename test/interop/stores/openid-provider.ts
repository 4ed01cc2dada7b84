/** oidc-provider, a certified OpenID provider, on loopback: programs log in, and get JWTs for the resource that they name. */

import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fetched } from '../../support/interop.ts'

const SECRET = 'secret-of-the-program'

export interface CertifiedProvider extends AsyncDisposable {
  readonly issuer: string
  /** A JWT whose subject is the program, for a resource. */
  token(program: string, resource: string): Promise<string>
}

interface Provider {
  readonly issuer: string
  callback(): RequestListener
}

/**
 * @param programs the ids of the programs that may log in
 * @param lifeSeconds of a token
 */
export async function startCertifiedProvider(
  programs: readonly string[],
  lifeSeconds: (resource: string) => number = () => 600,
): Promise<CertifiedProvider> {
  const entry = join(fetched('stores', 'npm'), 'node_modules', 'oidc-provider', 'lib', 'index.js')
  const { default: OpenIdProvider } = (await import(pathToFileURL(entry).href)) as {
    default: new (issuer: string, settings: object) => Provider
  }
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const provider = new OpenIdProvider(issuer, {
    clients: programs.map((id) => ({
      client_id: id,
      client_secret: SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
    cookies: { keys: ['unused'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: '',
          audience: resource,
          accessTokenTTL: lifeSeconds(resource),
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  })
  server.on('request', provider.callback())
  return {
    issuer,
    async token(program, resource) {
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`${program}:${SECRET}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', resource }),
      })
      const answer = (await response.json()) as { readonly access_token?: string }
      if (answer.access_token === undefined) throw new Error(`No token: ${JSON.stringify(answer)}`)
      return answer.access_token
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
