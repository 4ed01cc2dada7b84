import type { Secret } from '../../secret.ts'

/** A password to be set. */
export interface PasswordChange {
  readonly user: string
  readonly next: Secret
  /** The present one, where the session belongs to the user itself; undefined for an administrator. */
  readonly old: Secret | undefined
  /**
   * Called while this rotation alone can change the password.
   *
   * @throws when the password must not be set any more
   */
  readonly assertPending: () => Promise<void>
  /** Called when the server has refused it, while this rotation alone can change the password. */
  readonly onRefused: () => Promise<void>
}

/** Why a server does not set a password. */
export type ChangeRefusal =
  /** Another session changes it. */
  | 'running'
  /** The password does not fit the rules of the server. */
  | 'password'
  /** The password was changed too recently: it has a minimum age. */
  | 'age'
  /** The login is locked after too many failed logins. */
  | 'locked'
  /** The role or login may not change it. */
  | 'rights'

/** The server has answered that it does not set the password: the old one stays. */
export class ChangeRefused extends Error {
  override readonly name = 'ChangeRefused'
  readonly reason: ChangeRefusal

  constructor(reason: ChangeRefusal, message: string, cause?: unknown) {
    super(message, { cause })
    this.reason = reason
  }
}
