/**
 * Secrets Manager, the Parameter Store and STS on loopback, by their API references, as far as secrets are read, written
 * and rotated. Each request must be signed (./signature.ts). AWS' own clients are driven against it beside ours.
 */

import { randomUUID } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Parameters } from './parameters.ts'
import { Secrets } from './secrets.ts'
import { type AwsKey, AwsRefusal, type SignedRequest, verifySignature } from './signature.ts'

export const REGION = 'eu-west-1'

export interface AwsAsked {
  /** `GetSecretValue`. */
  readonly action: string
  readonly input: Readonly<Record<string, unknown>>
  readonly keyId: string
}

export interface AwsDouble extends AsyncDisposable {
  readonly url: string
  readonly secrets: Secrets
  readonly parameters: Parameters
  /** Keys that sign, by their ids. */
  readonly keys: Record<string, AwsKey>
  /** The requests that were signed well, in order. */
  readonly asked: AwsAsked[]
  /** How far its clock is ahead of this machine's, in milliseconds. */
  skewMillis: number
  /** How long keys of an assumed role live, in milliseconds. */
  roleMillis: number
  /** Answers in place of the services, as long as it is set; false lets a request through. */
  fault: ((action: string, response: ServerResponse) => boolean) | undefined
}

const LONGEST_BODY = 256 * 1024

export async function startAwsDouble(): Promise<AwsDouble> {
  const state = {
    secrets: new Secrets(),
    parameters: new Parameters(),
    keys: { AKIATEST: { secret: 'secret-of-the-test-key' } } as Record<string, AwsKey>,
    asked: [] as AwsAsked[],
    skewMillis: 0,
    roleMillis: 3_600_000,
    fault: undefined as AwsDouble['fault'],
  }
  const now = (): number => Date.now() + state.skewMillis

  function answer(request: SignedRequest): Readonly<Record<string, unknown>> {
    const [service = '', action = ''] = String(request.headers['x-amz-target']).split('.')
    const name = service === 'secretsmanager' ? 'secretsmanager' : 'ssm'
    const keyId = verifySignature(request, { service: name, region: REGION, keys: state.keys, now: now() })
    const input = JSON.parse(request.body.toString('utf8')) as Record<string, unknown>
    state.asked.push({ action, input, keyId })
    return (name === 'ssm' ? state.parameters : state.secrets).answer(action, input)
  }

  /** AssumeRole, in the query protocol. The signature of that is tested with the strategy `iam`. */
  function assume(body: string): string {
    const input = Object.fromEntries(new URLSearchParams(body))
    const id = `ASIA${randomUUID().slice(0, 8).toUpperCase()}`
    const key = { secret: randomUUID(), session: `session-of-${input.RoleArn}`, endsAt: now() + state.roleMillis }
    state.keys[id] = key
    state.asked.push({ action: 'AssumeRole', input, keyId: id })
    return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
      <AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${key.secret}</SecretAccessKey>
      <SessionToken>${key.session}</SessionToken><Expiration>${new Date(key.endsAt).toISOString()}</Expiration>
      </Credentials></AssumeRoleResult></AssumeRoleResponse>`
  }

  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    let length = 0
    incoming.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      if (length > LONGEST_BODY) incoming.destroy()
    })
    incoming.once('end', () => {
      const { method = '', url: path = '', headers } = incoming
      const body = Buffer.concat(chunks)
      response.setHeader('date', new Date(now()).toUTCString())
      const action = String(headers['x-amz-target'] ?? '').split('.')[1] ?? ''
      if (action === '' && headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true) {
        response.writeHead(200, { 'content-type': 'text/xml' }).end(assume(body.toString('utf8')))
        return
      }
      if (state.fault?.(action, response) === true) return
      const type = { 'content-type': 'application/x-amz-json-1.1' }
      try {
        const output = answer({ method, path, headers, body })
        response.writeHead(200, type).end(JSON.stringify(output))
      } catch (error) {
        if (!(error instanceof AwsRefusal)) throw error
        refuse(response, error.type, error.message)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

/** An error as the JSON protocol has it. */
export function refuse(
  response: ServerResponse,
  type: string,
  message: string,
  { status = 400, headers = {} }: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1', ...headers })
  response.end(JSON.stringify({ __type: type, message }))
}
