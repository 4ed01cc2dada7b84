/** EC2's instance metadata service (IMDSv2) on loopback, limited to the keys of the instance's role. */

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface MetadataRequest {
  readonly method: string
  readonly path: string
}

export interface AwsMetadata extends AsyncDisposable {
  readonly url: string
  /** The requests that have arrived, in order. */
  readonly requests: readonly MetadataRequest[]
  /** Resolves when a client closes a connection before it got its answer. */
  readonly abandoned: Promise<void>
}

const ROLE_PATH = '/latest/meta-data/iam/security-credentials/'

/**
 * @param intercept may answer a request in place of the service; returns true when the service must not answer
 */
export async function startAwsMetadata(
  intercept: (request: MetadataRequest & { readonly count: number }, response: ServerResponse) => boolean = () => false,
): Promise<AwsMetadata> {
  const requests: MetadataRequest[] = []
  const abandoned = Promise.withResolvers<void>()
  const server = createServer((incoming, response) => {
    const { method = '', url: path = '' } = incoming
    requests.push({ method, path })
    response.once('close', () => {
      if (!response.writableEnded) abandoned.resolve()
    })
    if (intercept({ method, path, count: requests.length }, response)) return
    if (method === 'PUT' && path === '/latest/api/token') response.end('a-session-token')
    else if (path === ROLE_PATH) response.end('machine-role')
    else if (path === `${ROLE_PATH}machine-role` || path === '/container') {
      response.end(
        JSON.stringify({
          Code: 'Success',
          AccessKeyId: 'ASIAMACHINE',
          SecretAccessKey: 'secret-of-the-machine',
          Token: 'session-of-the-machine',
          Expiration: new Date(Date.now() + 3_600_000).toISOString(),
        }),
      )
    } else response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    abandoned: abandoned.promise,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
