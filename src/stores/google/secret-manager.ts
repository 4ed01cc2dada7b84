/** Google Secret Manager: https://cloud.google.com/secret-manager/docs/reference/rest */

import { googleSecret } from '../../connections/reference.ts'
import { PoolsmithError } from '../../errors.ts'
import type { Secret } from '../../secret.ts'
import { googleFailure } from '../../strategies/google/failure.ts'
import type { GoogleOptions } from '../../strategies/google/fields.ts'
import { type GoogleContext, GoogleTokens } from '../../strategies/google/identity.ts'
import { textOf } from '../../vault/credential-file.ts'
import { ask, unusable } from '../../vault/https.ts'
import { isRecord, objectOf } from '../../vault/json.ts'
import { StoredSecret } from '../../vault/stored-secret.ts'
import type { SecretReader } from '../reader.ts'
import { conflict, textFollowing } from '../text-content.ts'
import { crc32c } from './crc32c.ts'

const SUBJECT = 'Google Secret Manager'

/** The parts of a path. */
interface GoogleSecret {
  /** `https://secretmanager.googleapis.com` */
  readonly origin: string
  /** `projects/sales-prod`, perhaps with a location. */
  readonly parent: string
  readonly name: string
  readonly version: string | undefined
}

interface Query {
  readonly step: string
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly body?: object
  readonly secrets?: readonly Secret[]
}

export function googleSecretReader(
  placeOf: SecretReader['placeOf'],
  options: GoogleOptions,
  context: GoogleContext,
): SecretReader {
  const tokens = new GoogleTokens(options, context)
  const limitMillis = options.credential_timeout * 1000

  async function send(query: Query, signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
    const { step, method, url, body, secrets = [] } = query
    for (let isFirst = true; ; isFirst = false) {
      const token = await tokens.current(signal)
      const headers = { authorization: `Bearer ${token.reveal()}`, 'content-type': 'application/json' }
      const text = body === undefined ? undefined : JSON.stringify(body)
      const channel = { signal, limitMillis, agent: context.agents?.https }
      const answer = await ask({ subject: SUBJECT, url, method, headers, body: text }, channel)
      const object = objectOf(answer.text)
      if (answer.status === 200 && object !== undefined) return object
      // A token that was kept may have been revoked.
      if (answer.status === 401 && tokens.reject(token) && isFirst) continue
      throw googleFailure(answer, { subject: SUBJECT, url, step, secrets: [token, ...secrets] })
    }
  }

  async function access(path: string, version: string, signal: AbortSignal): Promise<StoredSecret> {
    const { origin, parent, name } = partsOf(path, options)
    const url = new URL(`${origin}/v1/${parent}/secrets/${name}/versions/${version}:access`)
    const answer = await send({ step: `read the secret ${path}`, method: 'GET', url }, signal)
    const { name: resource, payload } = answer
    const { data, dataCrc32c: checksum } = isRecord(payload) ? payload : {}
    if (typeof data !== 'string') throw unusable(SUBJECT, url, 'has no value')
    const bytes = Buffer.from(data, 'base64')
    if (checksum !== undefined && String(checksum) !== String(crc32c(bytes))) {
      throw unusable(SUBJECT, url, 'was damaged on the way (CRC32C)').with({ transient: true })
    }
    const text = textOf(bytes)
    if (text !== undefined) return new StoredSecret(text, String(resource).split('/').at(-1))
    throw new PoolsmithError(`${placeOf(path)} is binary, and a text is needed.`, {
      code: 'SECRET_UNUSABLE',
      phase: 'credential',
      hint: 'Check what was written to the store.',
    })
  }

  async function add(path: string, text: Secret, signal: AbortSignal): Promise<StoredSecret> {
    const { origin, parent, name } = partsOf(path, options)
    const bytes = Buffer.from(text.reveal(), 'utf8')
    const payload = { data: bytes.toString('base64'), dataCrc32c: String(crc32c(bytes)) }
    const url = new URL(`${origin}/v1/${parent}/secrets/${name}:addVersion`)
    const query = { step: `write the secret ${path}`, method: 'POST', url, body: { payload }, secrets: [text] } as const
    const { name: resource, createTime } = await send(query, signal)
    return new StoredSecret(text.reveal(), String(resource).split('/').at(-1), Date.parse(String(createTime)))
  }

  /** @returns false where it exists already */
  async function create(path: string, signal: AbortSignal): Promise<boolean> {
    const { origin, parent, name } = partsOf(path, options)
    const url = new URL(`${origin}/v1/${parent}/secrets?secretId=${name}`)
    const body = parent.includes('/locations/') ? {} : { replication: { automatic: {} } }
    try {
      await send({ step: `make the secret ${path}`, method: 'POST', url, body }, signal)
      return true
    } catch (error) {
      if (error instanceof PoolsmithError && error.details.status === 409) return false
      throw error
    }
  }

  async function present(path: string, signal: AbortSignal): Promise<StoredSecret | undefined> {
    return await access(path, 'latest', signal).catch((error: unknown) => {
      if (error instanceof PoolsmithError && ['SECRET_MISSING', 'SECRET_DELETED'].includes(error.code)) return undefined
      throw error
    })
  }

  return {
    distance: 'remote',
    placeOf,
    read: (path, signal) => access(path, partsOf(path, options).version ?? 'latest', signal),
    /** The version before, for a secret of which none is named. */
    async others(path, { version }, signal) {
      const before = Number(version) - 1
      if ((partsOf(path, options).version ?? 'latest') !== 'latest' || !(before >= 1)) return []
      try {
        return [await access(path, String(before), signal)]
      } catch (error) {
        if (error instanceof PoolsmithError && NO_OTHERS.has(error.code)) return []
        throw error
      }
    },
    /** Secret Manager compares no version: the secret is read and compared before it is written. */
    async write(path, fields, { replaces, signal }) {
      const text = textFollowing(replaces, fields)
      const isNew = replaces === undefined && (await create(path, signal))
      const known = isNew ? undefined : await present(path, signal)
      if (known?.version !== replaces?.version) throw conflict(placeOf(path), replaces)
      return add(path, text, signal)
    },
  }
}

const NO_OTHERS: ReadonlySet<string> = new Set(['SECRET_MISSING', 'SECRET_DELETED', 'SECRET_UNUSABLE', 'STORE_REFUSED'])

function partsOf(path: string, { google_endpoint_url: endpoint }: GoogleOptions): GoogleSecret {
  const { project, location, name, version } = googleSecret(path) ?? {}
  if (name === undefined) throw new Error('The reference was not checked.')
  const host = location === undefined ? 'secretmanager.googleapis.com' : `secretmanager.${location}.rep.googleapis.com`
  const origin = endpoint?.replace(/\/+$/, '') ?? `https://${host}`
  return {
    origin,
    parent: `projects/${project}${location === undefined ? '' : `/locations/${location}`}`,
    name,
    version,
  }
}
