from t2igan.cli import main

main()
