import { databaseSuite } from '../support/vault/database-suite.ts'
import { startVaultDouble } from '../support/vault/double.ts'

databaseSuite('the double', () => startVaultDouble())
