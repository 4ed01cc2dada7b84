/** SeaweedFS, for its STS: it verifies the tokens of web identities by the keys of their issuer, as AWS does. */

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../../support/folder.ts'
import { freePort } from '../../support/free-port.ts'
import { fetched } from '../../support/interop.ts'

const START_LIMIT_MILLIS = 120_000
const PORTS = [
  'master.port',
  'master.port.grpc',
  'volume.port',
  'volume.port.grpc',
  'filer.port',
  'filer.port.grpc',
  's3.port.grpc',
]
const ROLE = 'arn:aws:iam::role/etl'

export interface Sts extends AsyncDisposable {
  readonly url: string
  readonly role: string
}

/** @param trust the issuer of the tokens, whom they must be for, and the subject that may have the role */
export async function startSts(trust: {
  readonly issuer: string
  readonly audience: string
  readonly subject: string
}): Promise<Sts> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const at = (name: string): string => join(folder, name)
  await mkdir(at('data'))
  await writeFile(at('iam.json'), JSON.stringify(settings(trust)), { mode: 0o600 })
  const keys = { accessKey: 'ADMIN', secretKey: randomBytes(16).toString('hex') }
  const identities = [{ name: 'admin', credentials: [keys], actions: ['Admin'] }]
  await writeFile(at('s3.json'), JSON.stringify({ identities }), { mode: 0o600 })
  const port = await freePort()
  const args = [
    'server',
    `-dir=${at('data')}`,
    '-ip=127.0.0.1',
    '-ip.bind=127.0.0.1',
    '-s3',
    `-s3.port=${port}`,
    `-s3.config=${at('s3.json')}`,
    `-s3.iam.config=${at('iam.json')}`,
    '-master.volumeSizeLimitMB=64',
    '-volume.max=4',
    '-s3.port.iceberg=0',
    '-s3.port.lance=0',
  ]
  for (const name of PORTS) args.push(`-${name}=${await freePort()}`)
  const server = spawn(join(fetched('stores', 'python'), 'bin', 'weed'), args, {
    env: { PATH: process.env.PATH, HOME: folder },
    cwd: folder,
    stdio: 'ignore',
  })
  const ended = once(server, 'exit')
  stack.defer(async () => {
    server.kill('SIGKILL')
    await ended
  })
  const url = `http://127.0.0.1:${port}`
  const limit = Date.now() + START_LIMIT_MILLIS
  while (!(await answers(url))) {
    if (Date.now() > limit || server.exitCode !== null) throw new Error('SeaweedFS did not start.')
    await sleep(100)
  }
  const owned = stack.move()
  return { url, role: ROLE, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function settings({ issuer, audience, subject }: Parameters<typeof startSts>[0]): object {
  const allowed = { Effect: 'Allow', Action: ['sts:ValidateSession'], Resource: ['*'] }
  const trusted = {
    Effect: 'Allow',
    // The name of the provider, and not its address.
    Principal: { Federated: 'openid' },
    Action: ['sts:AssumeRoleWithWebIdentity'],
    Condition: { StringEquals: { 'oidc:sub': subject } },
  }
  const document = (statement: object): object => ({ Version: '2012-10-17', Statement: [statement] })
  return {
    sts: {
      tokenDuration: '1h',
      maxSessionLength: '12h',
      issuer: 'seaweedfs-sts',
      signingKey: randomBytes(32).toString('base64'),
    },
    providers: [
      {
        name: 'openid',
        type: 'oidc',
        enabled: true,
        config: { issuer, clientId: audience, jwksUri: `${issuer}/jwks` },
      },
    ],
    policy: { defaultEffect: 'Deny', storeType: 'memory' },
    policies: [{ name: 'session', document: document(allowed) }],
    roles: [{ roleName: 'etl', roleArn: ROLE, attachedPolicies: ['session'], trustPolicy: document(trusted) }],
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).status > 0
  } catch {
    // It does not listen yet.
    return false
  }
}
