/** A certificate and its key in two files, or in one. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { type FileHandle, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCode, isError } from '../any-error.ts'
import { nextCertificate } from '../credentials/certificate-files.ts'
import { PoolsmithError } from '../errors.ts'
import { FileLock } from '../kerberos/file-lock.ts'
import { PEM_LABELS, pemBlocks } from '../pem-blocks.ts'
import { createExclusively, ownFile, syncFolder } from '../private-file.ts'
import { Secret } from '../secret.ts'
import type { CertificatePlace, CertificateStep } from './certificate-place.ts'
import type { IssuedPair } from './site-command.ts'
import { running } from './stored-password.ts'

/**
 * Two files cannot change at once. The new ones are written beside the old ones, the key is renamed first, and until the
 * certificate is renamed too, pools find the new one beside the old one (credentials/certificate-files.ts).
 */
export class CertificateInFiles implements CertificatePlace {
  readonly name: string
  readonly #certificate: string
  readonly #key: string
  #lock: FileLock | undefined

  constructor(certificate: string, key: string) {
    this.#certificate = certificate
    this.#key = key
    this.name = certificate === key ? certificate : `${certificate} and ${key}`
  }

  async read(): Promise<X509Certificate> {
    for (const [file, code] of [
      [this.#certificate, 'CERTIFICATE_FILE_MISSING'],
      [this.#key, 'KEY_FILE_MISSING'],
    ] as const) {
      if ((await told(file, () => ownFile(file))) === undefined) throw missing(file, code)
    }
    const path = `${this.#certificate}.lock`
    this.#lock = await told(path, () => FileLock.try(path, 'the rotation of certificates in files'))
    if (this.#lock === undefined) throw running(`another process holds the lock ${path}`)
    const text = await told(this.#certificate, () => readFile(this.#certificate, 'utf8'))
    const [pem] = pemBlocks(text, PEM_LABELS.certificates).blocks
    if (pem !== undefined) return new X509Certificate(pem)
    throw new PoolsmithError(`${this.#certificate} holds no certificate in PEM form.`, {
      code: 'CERTIFICATE_MALFORMED',
      phase: 'credential',
      hint: 'Put the present certificate in its place.',
    })
  }

  /** The key beside the old one, or in its place already. */
  async left(): Promise<IssuedPair | undefined> {
    const certificate = await textOf(nextCertificate(this.#certificate))
    const key = (await textOf(nextCertificate(this.#key))) ?? (await textOf(this.#key))
    if (certificate === undefined || key === undefined) return undefined
    try {
      const blocks = pemBlocks(certificate, PEM_LABELS.certificates)
      const [own] = blocks.blocks
      const [keyBlock] = pemBlocks(key, PEM_LABELS.key).blocks
      if (own === undefined || keyBlock === undefined || !blocks.complete) return undefined
      if (!new X509Certificate(own).checkPrivateKey(createPrivateKey(keyBlock))) return undefined
      const privateKey = new Secret(`${keyBlock}\n`)
      return { certificate: blocks.blocks.map((block) => `${block}\n`).join(''), privateKey }
    } catch {
      // It was cut off while it was written: another one is issued.
      return undefined
    }
  }

  async write({ certificate, privateKey }: IssuedPair, begin: (step: CertificateStep) => Promise<void>): Promise<void> {
    await begin('write')
    if (this.#certificate === this.#key) {
      await beside(this.#key, `${certificate}${privateKey.reveal()}`)
    } else {
      // The certificate first: a key alone would be taken for one whose certificate is in its place.
      await beside(this.#certificate, certificate)
      await beside(this.#key, privateKey.reveal())
      await begin('key')
      await replace(this.#key)
    }
    await begin('certificate')
    await replace(this.#certificate)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lock?.[Symbol.asyncDispose]()
  }
}

function missing(file: string, code: 'CERTIFICATE_FILE_MISSING' | 'KEY_FILE_MISSING'): PoolsmithError {
  return new PoolsmithError(`There is no file ${file} that could be replaced.`, {
    code,
    phase: 'credential',
    hint: 'Check the path; the first certificate and its key are put there by hand.',
    details: { file },
  })
}

async function textOf(path: string): Promise<string | undefined> {
  return told(path, async () => ((await ownFile(path)) === undefined ? undefined : readFile(path, 'utf8')))
}

/** Writes the next content of a file beside it, with the mode and the group of the present one. */
async function beside(path: string, content: string): Promise<void> {
  await told(path, async () => {
    const present = await ownFile(path)
    const next = nextCertificate(path)
    if ((await ownFile(next)) !== undefined) await rm(next)
    await using file = await createExclusively(next, 0o600)
    await writeFile(file, content)
    if (present !== undefined) await keepRights(file, present)
    await file.sync()
  })
}

async function keepRights(file: FileHandle, present: { readonly mode: number; readonly gid: number }): Promise<void> {
  const { uid, gid } = await file.stat()
  if (gid !== present.gid) await file.chown(uid, present.gid)
  await file.chmod(present.mode & 0o777)
}

async function replace(path: string): Promise<void> {
  await told(path, async () => {
    await ownFile(path)
    await rename(nextCertificate(path), path)
    await syncFolder(dirname(path))
  })
}

async function told<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof PoolsmithError) throw error
    const reason = errorCode(error) ?? (isError(error) ? error.message : String(error))
    throw new PoolsmithError(`The file ${path} cannot be replaced: ${reason.replace(/\.$/, '')}.`, {
      code: 'CERTIFICATE_FILE_REFUSED',
      phase: 'credential',
      hint: 'Rotate it as its owner, who may write its folder too; it must be a regular file that others cannot write.',
      details: { file: path },
      cause: error,
    })
  }
}
