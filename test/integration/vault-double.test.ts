import { startVaultDouble } from '../support/vault/double.ts'
import { vaultSuite } from '../support/vault/suite.ts'

vaultSuite('the double', () => startVaultDouble())
