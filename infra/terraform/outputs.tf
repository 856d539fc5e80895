output "url" {
  value       = aws_apigatewayv2_api.ca.api_endpoint
  description = "The API: for proxies (in bootstrap strings) and for --url."
}

output "documents_url" {
  value       = "https://${aws_s3_bucket.documents.bucket_regional_domain_name}"
  description = "The bucket of bundle.json, bundle.pem, crl/ and authority/, for those who may read it."
}

output "function_name" {
  value       = aws_lambda_function.ca.function_name
  description = "For aws lambda invoke, at the first start."
}

output "root_key_arn" {
  value       = aws_kms_key.root.arn
  description = "For countersign ceremony sign --key kms:..., by the ceremony role."
}

output "intermediate_key_arn" {
  value       = aws_kms_key.intermediate.arn
  description = "For countersign ceremony request intermediate --key kms:..."
}

output "sealing_key_arn" {
  value       = aws_kms_key.sealing.arn
  description = "For COUNTERSIGN_SEALING where a ceremony is prepared."
}

output "store_endpoint" {
  value       = aws_db_instance.store.endpoint
  description = "The database, host and port."
}

output "store_url" {
  value       = aws_lambda_function.ca.environment[0].variables["COUNTERSIGN_STORE"]
  sensitive   = true
  description = "For COUNTERSIGN_STORE where a ceremony is prepared."
}
