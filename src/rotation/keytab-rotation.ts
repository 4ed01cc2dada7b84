/** The steps by which the key of a keytab changes while tickets are obtained with it. */

import { PoolsmithError } from '../errors.ts'
import { kerberosError } from '../kerberos/errors.ts'
import { entryFor, type FileEntry, keysHash, newestVersion, withoutOldVersions } from '../kerberos/keytab-file.ts'
import { changeKey, isKeyAccepted, keysOf } from '../kerberos/new-key.ts'
import type { PendingPassword } from '../kerberos/pending-key.ts'
import { printable } from '../printable.ts'
import { redact, type Secret } from '../secret.ts'
import type { KeytabFiles } from './keytab-files.ts'

/**
 * `read`: the keytab is read. `login`: a ticket with its key, or with the one that an earlier rotation left. `pending`: the
 * new password is written down. `alter`: the KDC takes it, or the command runs. `keys`: the keys that the KDC has made of it.
 * `verify`: a ticket with the new keytab. `promote`: it takes the place of the old one.
 */
export type KeytabStep = 'read' | 'login' | 'pending' | 'alter' | 'keys' | 'verify' | 'promote'

export interface KeytabRotationOptions {
  readonly files: KeytabFiles
  /** In full. Undefined: the only one of the keytab. */
  readonly principal: string | undefined
  /** Gives a new key to the principal and puts it into the keytab {@link KeytabFiles.next}. Undefined: RFC 3244. */
  readonly runCommand: ((principal: string) => Promise<void>) | undefined
  readonly generate: () => Secret | Promise<Secret>
  /** How long a ticket may be in use after its key was replaced. */
  readonly keepSeconds: number
  /** Only old versions are removed. */
  readonly isCleaning: boolean
  readonly signal: AbortSignal
  readonly onStep: (step: KeytabStep) => void | Promise<void>
}

export interface RotatedKeys {
  readonly principal: string
  readonly before: readonly FileEntry[]
  readonly after: readonly FileEntry[]
  /** Whether it went on where an earlier rotation had stopped. */
  readonly resumed: boolean
}

interface Present {
  readonly principal: string
  readonly entries: readonly FileEntry[]
}

interface Found {
  readonly next: readonly FileEntry[]
  readonly resumed: boolean
}

export class KeytabRotation {
  readonly #options: KeytabRotationOptions
  #step: KeytabStep = 'read'

  constructor(options: KeytabRotationOptions) {
    this.#options = options
  }

  /** The step that was begun last. */
  get step(): KeytabStep {
    return this.#step
  }

  /** @throws PoolsmithError */
  async run(): Promise<RotatedKeys> {
    const { files, isCleaning } = this.#options
    await this.#begin('read')
    await using _lock = await files.lock()
    const entries = await files.read()
    const present = { principal: this.#principalIn(entries), entries }
    const { next, resumed } = isCleaning ? { next: entries, resumed: false } : await this.#nextOf(present)
    const after = this.#withoutOld(present.principal, next)
    const done = { principal: present.principal, before: entries, after, resumed }
    if (isCleaning && after.length === entries.length) return done
    await this.#begin('verify')
    await files.writeNext(after)
    if (!(await this.#accepts(present, { keytab: files.next }))) {
      throw kerberosError('KEYTAB_REFUSED', { principal: present.principal, keytab: files.next })
    }
    await this.#begin('promote')
    await files.promote()
    return done
  }

  async #begin(step: KeytabStep): Promise<void> {
    this.#step = step
    await this.#options.onStep(step)
  }

  #principalIn(entries: readonly FileEntry[]): string {
    const { files, principal } = this.#options
    const all = [...new Set(entries.map((entry) => entry.principal))]
    const chosen = principal ?? (all.length === 1 ? all[0] : undefined)
    if (chosen !== undefined && all.includes(chosen)) return chosen
    throw kerberosError('KEYTAB_WITHOUT_PRINCIPAL', { principal: chosen, keytab: files.path, keytabPrincipals: all })
  }

  #accepts({ principal }: Present, key: { readonly keytab: string } | Secret): Promise<boolean> {
    return isKeyAccepted({ principal, signal: this.#options.signal }, key)
  }

  #withoutOld(principal: string, entries: readonly FileEntry[]): FileEntry[] {
    const { keepSeconds } = this.#options
    return withoutOldVersions(entries, principal, { now: Math.floor(Date.now() / 1000), keepSeconds })
  }

  /** The entries of the next keytab, whose newest key the KDC has. */
  async #nextOf(present: Present): Promise<Found> {
    const { files, runCommand } = this.#options
    await this.#begin('login')
    const pending = await files.pending()
    if (pending !== undefined && pending.principal !== present.principal) throw this.#stuck(present, pending)
    if (pending !== undefined && (await this.#accepts(present, pending.password))) {
      return { next: await this.#withKeysOf(present, pending.password), resumed: true }
    }
    const left = await files.readNext()
    if (left !== undefined && isNew(left, present) && (await this.#accepts(present, { keytab: files.next }))) {
      return { next: joined(present.entries, left), resumed: true }
    }
    // A command may have other rights than the key has.
    if (runCommand !== undefined && pending === undefined) {
      return { next: await this.#byCommand(present, runCommand), resumed: false }
    }
    if (!(await this.#accepts(present, { keytab: files.path }))) throw this.#stuck(present, pending)
    const password = pending?.password ?? (await this.#pend(present))
    await this.#change(present, password)
    return { next: await this.#withKeysOf(present, password), resumed: pending !== undefined }
  }

  async #pend({ principal }: Present): Promise<Secret> {
    const { files, generate } = this.#options
    await this.#begin('pending')
    const password = await generate()
    await files.begin({ principal, password })
    return password
  }

  async #change({ principal }: Present, password: Secret): Promise<void> {
    const { files, signal } = this.#options
    await this.#begin('alter')
    const { result, words } = await changeKey({ principal, signal }, files.path, password)
    if (result === 0) return
    const told = printable(redact(words, [password]), 300)
    const isFinal = result === POLICY || result === NO_RIGHT
    // The next rotation makes another password.
    if (isFinal) await files.withdraw()
    throw new PoolsmithError(`The KDC refuses the new password of ${principal}: ${told}`, {
      code: isFinal ? 'ROTATION_REFUSED' : 'ROTATION_FAILED',
      phase: 'credential',
      transient: !isFinal,
      hint: isFinal
        ? 'Give a function that makes passwords by the policy of the realm, wait until its least age has passed, or have the right granted.'
        : 'Look at the log of the password service (kadmind, a domain controller).',
    })
  }

  /** Puts the keys that the KDC has made of a password behind the present ones. */
  async #withKeysOf({ principal, entries }: Present, password: Secret): Promise<FileEntry[]> {
    await this.#begin('keys')
    const { kvno: told, keys } = await keysOf({ principal, signal: this.#options.signal }, password)
    const own = entries.filter((entry) => entry.principal === principal)
    const [head] = own
    if (head === undefined) throw new Error('The keytab was not checked')
    // They are there already where a rotation was killed at its very end.
    const same = own.find(({ type, key }) => keys.some((one) => one.type === type && key.equals(one.key)))
    const kvno = told ?? same?.kvno ?? Number(newestVersion(entries, principal)) + 1
    const timestamp = same?.kvno === kvno ? same.timestamp : Math.floor(Date.now() / 1000)
    const made = keys.map(({ type, key }) => entryFor(head, { kvno, timestamp, type, key: Buffer.from(key) }))
    return [...entries.filter((entry) => entry.principal !== principal || entry.kvno < kvno), ...made]
  }

  async #byCommand(present: Present, runCommand: (principal: string) => Promise<void>): Promise<FileEntry[]> {
    const { files } = this.#options
    await this.#begin('alter')
    await files.writeNext(present.entries)
    await runCommand(present.principal)
    const made = await files.readNext()
    if (made !== undefined && isNew(made, present)) return joined(present.entries, made)
    throw new PoolsmithError(`The command has put no new key of ${present.principal} into ${files.next}.`, {
      code: 'ROTATION_COMMAND_FAILED',
      phase: 'credential',
      hint: 'It has to give the principal a new key and to write it into the keytab that {keytab} names.',
    })
  }

  #stuck({ principal }: Present, pending: PendingPassword | undefined): PoolsmithError {
    const { path } = this.#options.files
    const isOther = pending !== undefined && pending.principal !== principal
    const what = isOther
      ? `A rotation of ${printable(pending.principal)} has begun in the keytab ${path}, and this one is of ${principal}`
      : `The KDC accepts neither the key of ${principal} in ${path} nor one of a rotation beside it`
    return new PoolsmithError(`${what}.`, {
      code: 'ROTATION_STUCK',
      phase: 'credential',
      hint: isOther
        ? `Finish that one first, or remove ${path}.pending when it is of no use.`
        : 'Have an administrator of the realm write the keytab anew (`kadmin ktadd`), or give a command with other rights.',
    })
  }
}

/** The results of RFC 3244 2: KRB5_KPASSWD_SOFTERROR, a policy; KRB5_KPASSWD_ACCESSDENIED. */
const POLICY = 4
const NO_RIGHT = 5

function isNew(entries: readonly FileEntry[], { principal, entries: present }: Present): boolean {
  return (
    newestVersion(entries, principal) !== undefined && keysHash(entries, principal) !== keysHash(present, principal)
  )
}

/** Both, and where both have a key of one kind and version, that of the new one. */
function joined(present: readonly FileEntry[], next: readonly FileEntry[]): FileEntry[] {
  const isIn = (entry: FileEntry): boolean =>
    next.some((one) => one.principal === entry.principal && one.kvno === entry.kvno && one.type === entry.type)
  return [...present.filter((entry) => !isIn(entry)), ...next]
}
